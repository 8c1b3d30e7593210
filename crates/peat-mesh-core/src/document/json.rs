//! Writing: what a reader sees in, JSON text out. Keys are sorted, nothing is indented, and tagged
//! values look as they did when they came in.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use serde_json::Number;

use super::time;
use super::value::{Content, Scalar};
use super::view::{MapNode, Node};

pub(super) fn map(map: &MapNode) -> String {
    let mut text = String::with_capacity(map.fields.len() * 32 + 2);
    put_map(&mut text, map.fields.iter().map(|(key, field)| (key, &field.node)), put_node);
    text
}

pub(super) fn node(node: &Node) -> String {
    let mut text = String::new();
    put_node(&mut text, node);
    text
}

pub(super) fn fields(fields: &BTreeMap<String, Content>) -> String {
    let mut text = String::with_capacity(fields.len() * 32 + 2);
    put_map(&mut text, fields.iter(), put_content);
    text
}

pub(super) fn content(content: &Content) -> String {
    let mut text = String::new();
    put_content(&mut text, content);
    text
}

fn put_node(text: &mut String, node: &Node) {
    match node {
        Node::Scalar(scalar) => put_scalar(text, scalar),
        Node::Text(_, string) => put_tagged(text, "$text", string),
        Node::List(_, items) => put_list(text, items, put_node),
        Node::Map(map) => put_map(text, map.fields.iter().map(|(key, field)| (key, &field.node)), put_node),
    }
}

fn put_content(text: &mut String, content: &Content) {
    match content {
        Content::Scalar(scalar) => put_scalar(text, scalar),
        Content::Text(string) => put_tagged(text, "$text", string),
        Content::List(items) => put_list(text, items, put_content),
        Content::Map(fields) => put_map(text, BTreeMap::iter(fields), put_content),
    }
}

fn put_map<'a, T: 'a>(
    text: &mut String,
    fields: impl Iterator<Item = (&'a String, &'a T)>,
    put: impl Fn(&mut String, &T),
) {
    text.push('{');
    for (index, (key, value)) in fields.enumerate() {
        if index > 0 {
            text.push(',');
        }
        put_string(text, key);
        text.push(':');
        put(text, value);
    }
    text.push('}');
}

fn put_list<T>(text: &mut String, items: &[T], put: impl Fn(&mut String, &T)) {
    text.push('[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        put(text, item);
    }
    text.push(']');
}

fn put_scalar(text: &mut String, scalar: &Scalar) {
    match scalar {
        Scalar::Null => text.push_str("null"),
        Scalar::Bool(true) => text.push_str("true"),
        Scalar::Bool(false) => text.push_str("false"),
        Scalar::Int(number) => text.push_str(&number.to_string()),
        Scalar::Uint(number) => text.push_str(&number.to_string()),
        // Reading let only finite floats through; those have a JSON form.
        Scalar::Float(number) => match Number::from_f64(*number) {
            Some(number) => text.push_str(&number.to_string()),
            None => text.push_str("null"),
        },
        Scalar::Str(string) => put_string(text, string),
        Scalar::Bytes(bytes) => put_tagged(text, "$bytes", &BASE64.encode(bytes)),
        Scalar::Counter(number) => {
            text.push_str("{\"$counter\":");
            text.push_str(&number.to_string());
            text.push('}');
        }
        Scalar::Timestamp(ms) => put_tagged(text, "$timestamp", &time::print(*ms)),
    }
}

fn put_tagged(text: &mut String, key: &str, string: &str) {
    text.push_str("{\"");
    text.push_str(key);
    text.push_str("\":");
    put_string(text, string);
    text.push('}');
}

fn put_string(text: &mut String, string: &str) {
    text.push('"');
    let mut plain = 0;
    for (at, byte) in string.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..0x20 => "",
            _ => continue,
        };
        text.push_str(&string[plain..at]);
        if escape.is_empty() {
            text.push_str(&format!("\\u{byte:04x}"));
        } else {
            text.push_str(escape);
        }
        plain = at + 1;
    }
    text.push_str(&string[plain..]);
    text.push('"');
}
