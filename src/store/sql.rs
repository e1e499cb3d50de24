//! Our types in SQLite columns: enums as their names, structures as JSON text.

use rusqlite::ToSql;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};
use std::io::{self, Write};

/// A column that holds JSON text.
pub(super) struct Json<T>(pub T);

impl<T: Serialize> ToSql for Json<T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        serde_json::to_string(&self.0)
            .map(ToSqlOutput::from)
            .map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))
    }
}

/// A column of JSON text with measured figures. Nearly all figures were f32, and a JSON value holds an f32 as an f64
/// with a tail of meaningless digits (0.3 as 0.30000001192092896). This type writes the f32's own digits.
pub(super) struct Figures<T>(pub T);

impl<T: Serialize> ToSql for Figures<T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let mut text = Vec::new();
        let mut to = Serializer::with_formatter(&mut text, ShortFloats);
        self.0
            .serialize(&mut to)
            .map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))?;
        let text = String::from_utf8(text);
        text.map(ToSqlOutput::from)
            .map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))
    }
}

struct ShortFloats;

impl Formatter for ShortFloats {
    fn write_f64<W: ?Sized + Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        let short = value as f32;
        match f64::from(short) == value {
            true => self.write_f32(writer, short),
            false => CompactFormatter.write_f64(writer, value),
        }
    }
}

/// A column that holds a record (see [`super::Record`]). Text that is no JSON becomes a JSON string: reading it as a
/// record then names the record, and the rest of its row stays usable.
pub(super) struct RecordText(pub Value);

impl FromSql for RecordText {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let text = value.as_str()?;
        let parsed = serde_json::from_str(text);
        Ok(RecordText(parsed.unwrap_or_else(|_| text.into())))
    }
}

impl<T: DeserializeOwned> FromSql for Json<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        serde_json::from_str(value.as_str()?)
            .map(Json)
            .map_err(|e| FromSqlError::Other(Box::new(e)))
    }
}

/// The f64 with the shortest decimal digits of the f32 `figure`, as [`Figures`] writes it.
pub(super) fn decimal(figure: f32) -> f64 {
    figure.to_string().parse().unwrap_or(f64::from(figure))
}

/// Number of rows to query: one more than the page shows (see `Page::cut`), with an upper bound.
pub(super) fn page_limit(limit: usize) -> usize {
    limit.clamp(1, 1000)
}

/// Defines an enum of plain names. SQL and JSON use the same `snake_case` word.
macro_rules! text_enum {
    ($(#[$meta:meta])* pub enum $name:ident {
        $($(#[$variant_meta:meta])* $variant:ident = $text:literal,)+
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[derive(serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum $name {
            $($(#[$variant_meta])* $variant,)+
        }

        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                Self::ALL.iter().copied().find(|v| v.as_str() == text).ok_or_else(|| {
                    let known: Vec<_> = Self::ALL.iter().map(|v| v.as_str()).collect();
                    format!("`{text}` is none of {}", known.join(", "))
                })
            }
        }

        impl rusqlite::ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
                Ok(self.as_str().into())
            }
        }

        impl rusqlite::types::FromSql for $name {
            fn column_result(
                value: rusqlite::types::ValueRef<'_>,
            ) -> rusqlite::types::FromSqlResult<Self> {
                let parsed = value.as_str()?.parse::<Self>();
                parsed.map_err(|e| rusqlite::types::FromSqlError::Other(e.into()))
            }
        }
    };
}

pub(super) use text_enum;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn written(value: &impl ToSql) -> String {
        match value.to_sql().unwrap() {
            ToSqlOutput::Owned(rusqlite::types::Value::Text(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_figure_has_no_tail_and_reads_back_as_it_was() {
        let figures = json!({"rate": 1e-3_f32, "share": 0.3_f32, "seconds": 0.1_f64, "count": 3, "none": f32::NAN});
        let text = written(&Figures(&figures));
        let want = r#"{"rate":0.001,"share":0.3,"seconds":0.1,"count":3,"none":null}"#;
        assert_eq!(text, want);
        let back: Value = serde_json::from_str(&text).unwrap();
        for (key, figure) in [("rate", 1e-3_f32), ("share", 0.3)] {
            assert_eq!(back[key].as_f64().map(|x| x as f32), Some(figure));
        }
        // Figures from outside come back to the last digit.
        assert_eq!(
            written(&Json(json!(f64::from(0.3_f32)))),
            "0.30000001192092896"
        );
    }
}
