//! Partial settings, laid over one another as JSON.

use serde_json::{Map, Value};

/// Lays `over` over `base`: objects are merged key by key, any other value replaces, a null changes nothing.
pub fn merge(base: &mut Value, over: &Value) {
    match over {
        Value::Null => {}
        Value::Object(over) => {
            if !base.is_object() {
                *base = Value::Object(Map::new());
            }
            for (key, value) in over.iter().filter(|(_, v)| !v.is_null()) {
                merge(&mut base[key], value);
            }
        }
        over => *base = over.clone(),
    }
}
