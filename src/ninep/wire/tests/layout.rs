//! A message's body as the manual writes it, `fid[4] name[s] mode[1]`: to values
//! and back.
//!
//! `[1]`, `[2]`, `[4]`, `[8]` are numbers, any other number bytes. `[s]` is a
//! string with two bytes of length, `[d]` data with four, `[w]` two bytes of how
//! many strings and then those. `[n]` is the length of all that follows it.

use alloc::vec::Vec;
use proptest::collection::vec;
use proptest::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Number(u64),
    Bytes(Vec<u8>),
    List(Vec<Vec<u8>>),
    /// Of an `[n]`: follows from the others.
    Length,
}

impl Value {
    pub fn text(bytes: &[u8]) -> Value {
        Value::Bytes(bytes.to_vec())
    }
}

#[derive(Clone, Copy, Debug)]
enum FieldKind {
    Fixed(usize),
    Text,
    Data,
    List,
    Length,
}

/// Name and kind of each field.
fn fields(layout: &'static str) -> impl Iterator<Item = (&'static str, FieldKind)> {
    layout.split_whitespace().map(|field| {
        let (name, kind) = field.strip_suffix(']').unwrap().split_once('[').unwrap();
        let kind = match kind {
            "s" => FieldKind::Text,
            "d" => FieldKind::Data,
            "w" => FieldKind::List,
            "n" => FieldKind::Length,
            len => FieldKind::Fixed(len.parse().unwrap()),
        };
        (name, kind)
    })
}

pub fn names(layout: &'static str) -> impl Iterator<Item = &'static str> {
    fields(layout).map(|(name, _)| name)
}

fn is_number(len: usize) -> bool {
    [1, 2, 4, 8].contains(&len)
}

fn string() -> impl Strategy<Value = Vec<u8>> {
    vec(1..=u8::MAX, 0..300)
}

/// A name that may stand in a walk.
fn name() -> impl Strategy<Value = Vec<u8>> {
    vec((1..=u8::MAX).prop_filter("a name has no /", |byte| *byte != b'/'), 1..20)
}

fn value(kind: FieldKind) -> BoxedStrategy<Value> {
    match kind {
        FieldKind::Fixed(len) if is_number(len) => {
            let max = u64::MAX >> (64 - 8 * len);
            prop_oneof![Just(0), Just(max), 0..=max].prop_map(Value::Number).boxed()
        }
        FieldKind::Fixed(len) => vec(any::<u8>(), len).prop_map(Value::Bytes).boxed(),
        FieldKind::Text => string().prop_map(Value::Bytes).boxed(),
        FieldKind::Data => vec(any::<u8>(), 0..300).prop_map(Value::Bytes).boxed(),
        FieldKind::List => vec(name(), 0..=16).prop_map(Value::List).boxed(),
        FieldKind::Length => Just(Value::Length).boxed(),
    }
}

/// A value for each field.
pub fn values(layout: &'static str) -> impl Strategy<Value = Vec<Value>> {
    fields(layout).map(|(_, kind)| value(kind)).collect::<Vec<_>>()
}

/// The body of these values.
pub fn join(layout: &'static str, values: &[Value]) -> Vec<u8> {
    let kinds: Vec<FieldKind> = fields(layout).map(|(_, kind)| kind).collect();
    assert_eq!(kinds.len(), values.len());
    join_from(&kinds, values)
}

fn join_from(kinds: &[FieldKind], values: &[Value]) -> Vec<u8> {
    let (Some((kind, kinds)), Some((value, values))) = (kinds.split_first(), values.split_first())
    else {
        return Vec::new();
    };
    let rest = join_from(kinds, values);
    let counted = |bytes: &[u8]| [&(bytes.len() as u16).to_le_bytes(), bytes].concat();
    let field = match (kind, value) {
        (FieldKind::Fixed(len), Value::Number(number)) => number.to_le_bytes()[..*len].to_vec(),
        (FieldKind::Fixed(_), Value::Bytes(bytes)) => bytes.clone(),
        (FieldKind::Text, Value::Bytes(bytes)) => counted(bytes),
        (FieldKind::Data, Value::Bytes(bytes)) => {
            [&(bytes.len() as u32).to_le_bytes(), &bytes[..]].concat()
        }
        (FieldKind::List, Value::List(list)) => {
            let strings: Vec<u8> = list.iter().flat_map(|bytes| counted(bytes)).collect();
            [&(list.len() as u16).to_le_bytes(), &strings[..]].concat()
        }
        (FieldKind::Length, Value::Length) => (rest.len() as u16).to_le_bytes().to_vec(),
        (kind, value) => panic!("{value:?} for {kind:?}"),
    };
    [field, rest].concat()
}

/// The values of this body, with their names. Panics if it is another layout.
pub fn split(layout: &'static str, body: &[u8]) -> Vec<(&'static str, Value)> {
    let mut rest = body;
    let mut take = |len: usize| rest.split_off(..len).expect("a field is missing").to_vec();
    let number = |take: &mut dyn FnMut(usize) -> Vec<u8>, len: usize| {
        take(len).iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    };
    let mut values = Vec::new();
    for (name, kind) in fields(layout) {
        let value = match kind {
            FieldKind::Fixed(len) if is_number(len) => Value::Number(number(&mut take, len)),
            FieldKind::Fixed(len) => Value::Bytes(take(len)),
            FieldKind::Text => {
                let len = number(&mut take, 2);
                Value::Bytes(take(len as usize))
            }
            FieldKind::Data => {
                let len = number(&mut take, 4);
                Value::Bytes(take(len as usize))
            }
            FieldKind::List => panic!("no reply has a list of strings"),
            FieldKind::Length => Value::Number(number(&mut take, 2)),
        };
        values.push((name, value));
    }
    assert!(rest.is_empty(), "{} bytes are left behind {layout}", rest.len());
    values
}
