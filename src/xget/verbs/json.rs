//! JSON as verbs print it (RFC 8259): objects of texts and numbers.
//!
//! Knows that names are bytes and JSON is Unicode. Refuses to know what is said.

use peer::control::escaped;
use std::fmt::{Display, Write};

/// One object, field by field.
pub struct Object(String);

impl Object {
    pub fn new() -> Object {
        Object(String::from("{"))
    }

    fn field(mut self, name: &str) -> Object {
        if self.0.len() > 1 {
            self.0.push_str(", ");
        }
        put_text(&mut self.0, name);
        self.0.push_str(": ");
        self
    }

    pub fn text(self, name: &str, value: &str) -> Object {
        let mut object = self.field(name);
        put_text(&mut object.0, value);
        object
    }

    /// A number, or whatever else stands there as it is.
    pub fn number(self, name: &str, value: impl Display) -> Object {
        let mut object = self.field(name);
        let _ = write!(object.0, "{value}");
        object
    }

    /// A name of a file. What is not UTF-8 has U+FFFD in it, and beside it stands a field
    /// `NAME_encoded` with all bytes, percent encoded as in the conversation.
    pub fn name(self, name: &str, value: &[u8]) -> Object {
        let object = self.text(name, &String::from_utf8_lossy(value));
        match str::from_utf8(value) {
            Ok(_) => object,
            Err(_) => object.text(&format!("{name}_encoded"), &escaped(value)),
        }
    }

    pub fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

/// A list of texts.
pub fn texts<T: AsRef<str>>(values: &[T]) -> String {
    let mut out = String::from("[");
    for value in values {
        if out.len() > 1 {
            out.push_str(", ");
        }
        put_text(&mut out, value.as_ref());
    }
    out.push(']');
    out
}

fn put_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            // C1 and DEL need no escape, but might reach a terminal.
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_object_is_one_line_whatever_is_in_it() {
        let object = Object::new().text("a\"", "x\n\t\\\u{1b}[2J\u{9b}\u{e9}").number("n", 7);
        let text = object.name("path", b"a b").name("to", b"\xff/\n").end();
        assert_eq!(
            text,
            r#"{"a\"": "x\n\t\\\u001b[2J\u009bé", "n": 7, "path": "a b", "to": "�/\n", "to_encoded": "%ff/%0a"}"#
        );
        assert_eq!(Object::new().end(), "{}");
        assert_eq!(
            (texts::<&str>(&[]), texts(&["a", "\""])),
            ("[]".into(), r#"["a", "\""]"#.into())
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_back(name: Vec<u8>, text: String) {
            let object = Object::new().text("text", &text).name("name", &name).end();
            let value: serde_json::Value = serde_json::from_str(&object).unwrap();
            prop_assert_eq!(value["text"].as_str(), Some(&*text));
            prop_assert!(value["name"].is_string());
            prop_assert_eq!(value.get("name_encoded").is_some(), str::from_utf8(&name).is_err());
        }
    }
}
