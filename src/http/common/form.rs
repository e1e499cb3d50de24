//! Bodies of the type `multipart/form-data`: what browsers and `curl -F` send.

use super::error::Problem;
use super::extract::{charset_of, kind_of};
use axum::body::{Body, Bytes};
use axum::extract::multipart::MultipartError;
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request};
use axum::http::{HeaderMap, header};

pub const MEDIA_TYPE: &str = "multipart/form-data";

/// One field of a form.
pub struct Field {
    pub name: String,
    /// The name of the file; a field without one is text.
    pub file_name: Option<String>,
    /// Its own content type without parameters, in lower case.
    pub kind: Option<String>,
    pub charset: Option<String>,
    pub bytes: Bytes,
}

impl Field {
    /// The file's name without folders.
    pub fn base_name(&self) -> Option<&str> {
        let name = self.file_name.as_deref()?;
        name.rsplit(['/', '\\']).next()
    }

    /// The value of a text field.
    pub fn text(&self) -> Result<&str, Problem> {
        std::str::from_utf8(&self.bytes).map_err(|_| {
            let detail = format!("The field {} is not UTF-8.", self.name);
            Problem::invalid(self.name.clone(), detail)
        })
    }
}

/// The fields of a form that was received whole, in their order.
pub async fn fields(headers: &HeaderMap, body: Bytes) -> Result<Vec<Field>, Problem> {
    let mut request = Request::new(Body::from(body));
    if let Some(kind) = headers.get(header::CONTENT_TYPE) {
        request
            .headers_mut()
            .insert(header::CONTENT_TYPE, kind.clone());
    }
    // The size was bounded when the body was received.
    DefaultBodyLimit::disable().apply(&mut request);
    let form = Multipart::from_request(request, &()).await;
    let mut form = form.map_err(|rejection| malformed(&rejection.body_text()))?;
    let broken = |error: MultipartError| malformed(&error.body_text());
    let mut fields = Vec::new();
    while let Some(field) = form.next_field().await.map_err(broken)? {
        let Some(name) = field.name().map(str::to_owned) else {
            return Err(malformed("a field has no name"));
        };
        let kind = field.content_type();
        let (kind, charset) = (kind.map(kind_of), kind.and_then(charset_of));
        let file_name = field.file_name().map(str::to_owned);
        let bytes = field.bytes().await.map_err(broken)?;
        fields.push(Field {
            name,
            file_name,
            kind,
            charset,
            bytes,
        });
    }
    Ok(fields)
}

fn malformed(reason: &str) -> Problem {
    let reason = reason.trim_end_matches('.');
    let detail = format!("The body is not a form that can be read: {reason}.");
    Problem::bad_request("malformed_form", detail)
}
