//! Values between JSON and Automerge.
//!
//! In comes JSON from a client, in which an object with exactly one of the keys `$counter`, `$text`,
//! `$bytes` and `$timestamp` stands for another type; out goes [`Content`], which names every type, or
//! a [`ValueError`] that names the place. [`Scalar`] is also what reading an Automerge value gives.

use std::collections::BTreeMap;

use automerge::hydrate;
use automerge::{ScalarValue, ScalarValueRef, TextEncoding};
use data_encoding::BASE64;
use serde_json::{Map, Value};

use super::time;
use crate::limits;

/// Text in Automerge is counted in code points, on every platform.
pub(super) const TEXT_ENCODING: TextEncoding = TextEncoding::UnicodeCodePoint;

/// A JSON value that cannot become part of a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// An object with one of the four type keys and a value that does not fit it.
    #[error("at {path}: {key} must be {expected}")]
    Tagged {
        /// Where, as a JSON pointer.
        path: String,
        /// The key, for example `$counter`.
        key: String,
        /// What it takes.
        expected: &'static str,
    },
    /// Objects and lists lie too deep in each other.
    #[error("at {path}: nested deeper than {levels_max} levels")]
    TooDeep {
        /// Where, as a JSON pointer.
        path: String,
        /// The limit.
        levels_max: usize,
    },
    /// A number that is neither a 64-bit integer nor a finite float.
    #[error("at {path}: the number {number} does not fit 64 bits")]
    Number {
        /// Where, as a JSON pointer.
        path: String,
        /// The number as written.
        number: String,
    },
}

/// A value without parts.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Scalar {
    Null,
    Bool(bool),
    Int(i64),
    /// Only above `i64::MAX`, so that equal numbers are equal values.
    Uint(u64),
    Float(f64),
    Str(String),
    Bytes(Vec<u8>),
    Counter(i64),
    Timestamp(i64),
}

impl Scalar {
    /// What Automerge holds. JSON has no word for NaN, infinities and types that are newer than this
    /// program, so they read as null; only other programs can have written them.
    pub(super) fn read(value: ScalarValueRef<'_>) -> Self {
        match value {
            ScalarValueRef::Bytes(bytes) => Scalar::Bytes(bytes.into_owned()),
            ScalarValueRef::Str(text) => Scalar::Str(text.into_owned()),
            ScalarValueRef::Int(number) => Scalar::Int(number),
            ScalarValueRef::Uint(number) => unsigned(number),
            ScalarValueRef::F64(number) if number.is_finite() => Scalar::Float(number),
            ScalarValueRef::Counter(number) => Scalar::Counter(number),
            ScalarValueRef::Timestamp(ms) => Scalar::Timestamp(ms),
            ScalarValueRef::Boolean(truth) => Scalar::Bool(truth),
            ScalarValueRef::F64(_) | ScalarValueRef::Unknown { .. } | ScalarValueRef::Null => Scalar::Null,
        }
    }

    /// [`Scalar::read`] for the owned twin of the type.
    pub(super) fn read_owned(value: &ScalarValue) -> Self {
        match value {
            ScalarValue::Bytes(bytes) => Scalar::Bytes(bytes.clone()),
            ScalarValue::Str(text) => Scalar::Str(text.to_string()),
            ScalarValue::Int(number) => Scalar::Int(*number),
            ScalarValue::Uint(number) => unsigned(*number),
            ScalarValue::F64(number) if number.is_finite() => Scalar::Float(*number),
            ScalarValue::Counter(counter) => Scalar::Counter(i64::from(counter)),
            ScalarValue::Timestamp(ms) => Scalar::Timestamp(*ms),
            ScalarValue::Boolean(truth) => Scalar::Bool(*truth),
            ScalarValue::F64(_) | ScalarValue::Unknown { .. } | ScalarValue::Null => Scalar::Null,
        }
    }

    pub(super) fn to_automerge(&self) -> ScalarValue {
        match self {
            Scalar::Null => ScalarValue::Null,
            Scalar::Bool(truth) => ScalarValue::Boolean(*truth),
            Scalar::Int(number) => ScalarValue::Int(*number),
            Scalar::Uint(number) => ScalarValue::Uint(*number),
            Scalar::Float(number) => ScalarValue::F64(*number),
            Scalar::Str(text) => ScalarValue::Str(text.as_str().into()),
            Scalar::Bytes(bytes) => ScalarValue::Bytes(bytes.clone()),
            Scalar::Counter(number) => ScalarValue::counter(*number),
            Scalar::Timestamp(ms) => ScalarValue::Timestamp(*ms),
        }
    }
}

fn unsigned(number: u64) -> Scalar {
    i64::try_from(number).map_or(Scalar::Uint(number), Scalar::Int)
}

/// What a document should hold.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Content {
    Scalar(Scalar),
    Text(String),
    List(Vec<Content>),
    Map(BTreeMap<String, Content>),
}

impl Content {
    /// The same as the type with which Automerge creates nested objects in one go. It sorts the keys of
    /// its hash map before it makes operations, so equal contents give equal changes.
    pub(super) fn to_automerge(&self) -> hydrate::Value {
        match self {
            Content::Scalar(scalar) => hydrate::Value::Scalar(scalar.to_automerge()),
            Content::Text(text) => hydrate::Value::text(TEXT_ENCODING, text),
            Content::List(items) => {
                let items: Vec<_> = items.iter().map(Content::to_automerge).collect();
                hydrate::Value::from(items)
            }
            Content::Map(fields) => {
                let fields: std::collections::HashMap<String, hydrate::Value> =
                    fields.iter().map(|(key, value)| (key.clone(), value.to_automerge())).collect();
                hydrate::Value::Map(fields.into())
            }
        }
    }
}

/// The fields of a document. The root is always an object, also when its only key is a type key.
pub(super) fn root(object: &Map<String, Value>) -> Result<BTreeMap<String, Content>, ValueError> {
    let mut path = Vec::new();
    fields(object, &mut path)
}

/// A step from the root to a value, for messages.
enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

fn fields<'a>(
    object: &'a Map<String, Value>,
    path: &mut Vec<Step<'a>>,
) -> Result<BTreeMap<String, Content>, ValueError> {
    object
        .iter()
        .map(|(key, value)| {
            path.push(Step::Key(key));
            let content = content(value, path)?;
            path.pop();
            Ok((key.clone(), content))
        })
        .collect()
}

fn content<'a>(value: &'a Value, path: &mut Vec<Step<'a>>) -> Result<Content, ValueError> {
    // The root is level 1 and has an empty path, so a value with n steps behind it may be level n + 1.
    if (value.is_object() || value.is_array()) && path.len() >= limits::DOCUMENT_DEPTH_LEVELS_MAX {
        return Err(ValueError::TooDeep {
            path: pointer(path),
            levels_max: limits::DOCUMENT_DEPTH_LEVELS_MAX,
        });
    }
    Ok(match value {
        Value::Null => Content::Scalar(Scalar::Null),
        Value::Bool(truth) => Content::Scalar(Scalar::Bool(*truth)),
        Value::String(text) => Content::Scalar(Scalar::Str(text.clone())),
        Value::Number(number) => {
            let scalar = if let Some(number) = number.as_i64() {
                Scalar::Int(number)
            } else if let Some(number) = number.as_u64() {
                Scalar::Uint(number)
            } else {
                match number.as_f64() {
                    Some(number) if number.is_finite() => Scalar::Float(number),
                    _ => {
                        return Err(ValueError::Number { path: pointer(path), number: number.to_string() });
                    }
                }
            };
            Content::Scalar(scalar)
        }
        Value::Array(items) => {
            let mut list = Vec::with_capacity(items.len());
            for (index, item) in items.iter().enumerate() {
                path.push(Step::Index(index));
                list.push(content(item, path)?);
                path.pop();
            }
            Content::List(list)
        }
        Value::Object(object) => match tagged(object, path)? {
            Some(content) => content,
            None => Content::Map(fields(object, path)?),
        },
    })
}

fn tagged(object: &Map<String, Value>, path: &[Step<'_>]) -> Result<Option<Content>, ValueError> {
    if object.len() != 1 {
        return Ok(None);
    }
    let Some((key, value)) = object.iter().next() else {
        return Ok(None);
    };
    let (content, expected) = match key.as_str() {
        "$counter" => (
            value.as_i64().map(|number| Content::Scalar(Scalar::Counter(number))),
            "an integer from -2^63 to 2^63 - 1",
        ),
        "$text" => (value.as_str().map(|text| Content::Text(text.to_owned())), "a string"),
        "$bytes" => (
            value
                .as_str()
                .and_then(|text| BASE64.decode(text.as_bytes()).ok())
                .map(|bytes| Content::Scalar(Scalar::Bytes(bytes))),
            "a string of padded standard base64",
        ),
        "$timestamp" => (
            value.as_str().and_then(time::parse).map(|ms| Content::Scalar(Scalar::Timestamp(ms))),
            "a string in RFC 3339 form, for example 2026-01-31T23:59:59.999Z",
        ),
        _ => return Ok(None),
    };
    match content {
        Some(content) => Ok(Some(content)),
        None => Err(ValueError::Tagged { path: pointer(path), key: key.clone(), expected }),
    }
}

fn pointer(path: &[Step<'_>]) -> String {
    let mut text = String::new();
    for step in path {
        text.push('/');
        match step {
            Step::Key(key) => text.push_str(&key.replace('~', "~0").replace('/', "~1")),
            Step::Index(index) => text.push_str(&index.to_string()),
        }
    }
    text
}
