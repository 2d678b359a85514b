//! Reads a JSON request body field by field, strictly: a field of the wrong type or length is a 400 that
//! names it. What was not read is left over for services that keep unknown attributes.

use serde_json::{Map, Value};

use super::Fault;

/// The fields of one JSON object, taken out one by one.
#[derive(Debug, Clone)]
pub struct Fields {
    of: &'static str,
    map: Map<String, Value>,
}

impl Fields {
    /// The object under `key` of a body: `{"user": {…}}`.
    pub fn of(mut body: Value, key: &'static str) -> Result<Self, Fault> {
        match body.get_mut(key).map(Value::take) {
            Some(Value::Object(map)) => Ok(Self { of: key, map }),
            Some(_) => Err(Fault::invalid(format!("'{key}' is not an object"))),
            None => Err(Fault::invalid(format!("'{key}' is a required property"))),
        }
    }

    /// A body that is itself the object.
    pub fn bare(body: Value, what: &'static str) -> Result<Self, Fault> {
        match body {
            Value::Object(map) => Ok(Self { of: what, map }),
            _ => Err(Fault::invalid(format!("the body of {what} is not an object"))),
        }
    }

    /// Whether the field is there, null or not.
    pub fn has(&self, name: &str) -> bool {
        self.map.contains_key(name)
    }

    /// Whether it is the only field.
    pub fn has_only(&self, name: &str) -> bool {
        self.map.len() == 1 && self.has(name)
    }

    /// A field as it is, left where it is.
    pub fn peek(&self, name: &str) -> Option<&Value> {
        self.map.get(name)
    }

    /// Takes a field as it is; `None` where it is missing or null.
    pub fn value(&mut self, name: &str) -> Option<Value> {
        self.map.remove(name).filter(|value| !value.is_null())
    }

    /// A string of at most `max` characters that may be missing or null. No text of ours holds a NUL, which ends
    /// it in other programs.
    pub fn text(&mut self, name: &str, max: usize) -> Result<Option<String>, Fault> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.contains('\0') => Err(self.wrong(name, "has a NUL in it")),
            Some(Value::String(text)) if text.chars().count() <= max => Ok(Some(text)),
            Some(Value::String(_)) => Err(self.wrong(name, &format!("is longer than {max} characters"))),
            Some(_) => Err(self.wrong(name, "is not a string")),
        }
    }

    /// A string of 1 to `max` characters, not only of white space, that must be there.
    pub fn required(&mut self, name: &str, max: usize) -> Result<String, Fault> {
        match self.text(name, max)? {
            Some(text) if !text.trim().is_empty() => Ok(text),
            Some(_) => Err(self.wrong(name, "is empty")),
            None => Err(Fault::invalid(format!("'{name}' is a required property of '{}'", self.of))),
        }
    }

    /// As [`Fields::required`] where the field is there, for updates.
    pub fn replaced(&mut self, name: &str, max: usize) -> Result<Option<String>, Fault> {
        if self.has(name) { self.required(name, max).map(Some) } else { Ok(None) }
    }

    /// A boolean that may be missing or null.
    pub fn flag(&mut self, name: &str) -> Result<Option<bool>, Fault> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(_) => Err(self.wrong(name, "is not a boolean")),
        }
    }

    /// An object that may be missing or null.
    pub fn object(&mut self, name: &str) -> Result<Option<Map<String, Value>>, Fault> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map)),
            Some(_) => Err(self.wrong(name, "is not an object")),
        }
    }

    /// A list that may be missing or null.
    pub fn list(&mut self, name: &str) -> Result<Option<Vec<Value>>, Fault> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(_) => Err(self.wrong(name, "is not a list")),
        }
    }

    /// The attributes nobody asked for.
    pub fn rest(self) -> Map<String, Value> {
        self.map
    }

    /// A 400 that names the field.
    pub fn wrong(&self, name: &str, why: &str) -> Fault {
        Fault::invalid(format!("Invalid input for field '{name}' of '{}': it {why}.", self.of))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_wrong_field_is_named_in_a_400() {
        let fields = || Fields::of(json!({"user": {"name": 5, "on": "x", "blank": " "}}), "user").expect("object");
        for fault in [
            fields().required("name", 9).expect_err("number"),
            fields().required("absent", 9).expect_err("missing"),
            fields().required("blank", 9).expect_err("blank"),
            fields().flag("on").map(|_| ()).expect_err("string"),
            Fields::of(json!({}), "user").map(|_| ()).expect_err("no user"),
            Fields::of(json!([]), "user").map(|_| ()).expect_err("a list"),
        ] {
            assert_eq!(fault.status, 400, "{}", fault.message);
        }
    }

    #[test]
    fn nulls_are_as_good_as_missing_and_the_rest_is_kept() {
        let mut fields = Fields::of(json!({"user": {"email": "a@b", "description": null}}), "user").expect("object");
        assert_eq!(fields.text("description", 9).expect("null"), None);
        assert_eq!(Value::Object(fields.rest()), json!({"email": "a@b"}));
    }
}
