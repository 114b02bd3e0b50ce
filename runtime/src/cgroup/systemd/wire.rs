// SPDX-License-Identifier: Apache-2.0
//! D-Bus messages: the few kinds that are sent to systemd, and what comes back. Pure.
//!
//! Spec: D-Bus specification, "Type system" and "Message protocol".

use std::fmt;

/// What we send is little-endian on every machine; the protocol lets each message choose.
const LITTLE: u8 = b'l';
/// No message for us is nearly as long.
const LONGEST: usize = 1 << 20;

/// A value in a variant, of one of the types that properties of units have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `b`
    Bool(bool),
    /// `i`
    I32(i32),
    /// `u`
    U32(u32),
    /// `x`
    I64(i64),
    /// `t`
    U64(u64),
    /// `s`
    Text(String),
    /// `ay`
    Bytes(Vec<u8>),
    /// `au`
    Numbers(Vec<u32>),
    /// `as`
    Texts(Vec<String>),
    /// `a(st)`
    Rates(Vec<(String, u64)>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::I32(value) => value.fmt(f),
            Self::U32(value) => value.fmt(f),
            Self::I64(value) => value.fmt(f),
            Self::U64(u64::MAX) => f.write_str("infinity"),
            Self::U64(value) => value.fmt(f),
            Self::Text(text) => text.fmt(f),
            Self::Bytes(bytes) => write!(f, "{bytes:x?}"),
            Self::Numbers(numbers) => write!(f, "{numbers:?}"),
            Self::Texts(texts) => write!(f, "{texts:?}"),
            Self::Rates(rates) => rates.iter().try_for_each(|(path, rate)| write!(f, "{path}={rate} ")),
        }
    }
}

impl Value {
    fn signature(&self) -> &'static str {
        match self {
            Self::Bool(_) => "b",
            Self::I32(_) => "i",
            Self::U32(_) => "u",
            Self::I64(_) => "x",
            Self::U64(_) => "t",
            Self::Text(_) => "s",
            Self::Bytes(_) => "ay",
            Self::Numbers(_) => "au",
            Self::Texts(_) => "as",
            Self::Rates(_) => "a(st)",
        }
    }
}

/// The arguments of a call, written one after the other.
#[derive(Clone, Debug, Default)]
pub(super) struct Body {
    bytes: Vec<u8>,
    signature: String,
}

impl Body {
    /// Adds a string.
    pub(super) fn text(mut self, text: &str) -> Self {
        self.signature.push('s');
        self.put_text(text);
        self
    }

    /// Adds a bool.
    pub(super) fn bool(mut self, value: bool) -> Self {
        self.signature.push('b');
        self.put_u32(value.into());
        self
    }

    /// Adds numbers: `au`.
    pub(super) fn numbers(mut self, numbers: &[u32]) -> Self {
        self.signature.push_str("au");
        self.put_array(4, numbers, |body, number| body.put_u32(*number));
        self
    }

    /// Adds named values: `a(sv)`.
    pub(super) fn properties(mut self, properties: &[(String, Value)]) -> Self {
        self.signature.push_str("a(sv)");
        self.put_array(8, properties, |body, (name, value)| {
            body.align(8);
            body.put_text(name);
            body.put_variant(value);
        });
        self
    }

    /// Adds an empty array of units, which StartTransientUnit wants: `a(sa(sv))`.
    pub(super) fn no_units(mut self) -> Self {
        self.signature.push_str("a(sa(sv))");
        self.put_array(8, &[(); 0], |_, ()| {});
        self
    }

    fn align(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    fn put_u32(&mut self, value: u32) {
        self.align(4);
        self.bytes.extend(value.to_le_bytes());
    }

    fn put_u64(&mut self, value: u64) {
        self.align(8);
        self.bytes.extend(value.to_le_bytes());
    }

    fn put_text(&mut self, text: &str) {
        self.put_u32(length(text.len()));
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }

    fn put_signature(&mut self, signature: &str) {
        // Ours have less than 256 characters.
        self.bytes.push(u8::try_from(signature.len()).unwrap_or(u8::MAX));
        self.bytes.extend(signature.as_bytes());
        self.bytes.push(0);
    }

    /// An array: its length in bytes without the padding before its first element.
    fn put_array<T>(&mut self, alignment: usize, elements: &[T], put: impl Fn(&mut Self, &T)) {
        self.put_u32(0);
        let at = self.bytes.len();
        self.align(alignment);
        let begin = self.bytes.len();
        elements.iter().for_each(|element| put(self, element));
        let size = length(self.bytes.len() - begin);
        self.bytes[at - 4..at].copy_from_slice(&size.to_le_bytes());
    }

    fn put_variant(&mut self, value: &Value) {
        self.put_signature(value.signature());
        match value {
            Value::Bool(value) => self.put_u32((*value).into()),
            Value::I32(value) => self.put_u32(value.cast_unsigned()),
            Value::U32(value) => self.put_u32(*value),
            Value::I64(value) => self.put_u64(value.cast_unsigned()),
            Value::U64(value) => self.put_u64(*value),
            Value::Text(text) => self.put_text(text),
            Value::Bytes(bytes) => self.put_array(1, bytes, |body, byte| body.bytes.push(*byte)),
            Value::Numbers(numbers) => self.put_array(4, numbers, |body, number| body.put_u32(*number)),
            Value::Texts(texts) => self.put_array(4, texts, |body, text| body.put_text(text)),
            Value::Rates(rates) => self.put_array(8, rates, |body, (path, rate)| {
                body.align(8);
                body.put_text(path);
                body.put_u64(*rate);
            }),
        }
    }
}

/// What fits into a message fits into its numbers.
fn length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// Whom a call is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Callee<'a> {
    /// The name on the bus.
    pub(super) service: &'a str,
    /// The object.
    pub(super) path: &'a str,
    /// The interface.
    pub(super) interface: &'a str,
    /// The method.
    pub(super) method: &'a str,
}

/// The bytes of a call.
pub(super) fn call(serial: u32, callee: Callee<'_>, body: &Body) -> Vec<u8> {
    const METHOD_CALL: u8 = 1;
    let mut message = Body::default();
    message.bytes.extend([LITTLE, METHOD_CALL, 0, 1]);
    message.put_u32(length(body.bytes.len()));
    message.put_u32(serial);
    // Field codes: PATH 1, INTERFACE 2, MEMBER 3, DESTINATION 6, SIGNATURE 8.
    let fields = [
        (1, "o", callee.path),
        (2, "s", callee.interface),
        (3, "s", callee.method),
        (6, "s", callee.service),
        (8, "g", body.signature.as_str()),
    ];
    message.put_array(8, &fields, |message, (code, kind, text)| {
        message.align(8);
        message.bytes.push(*code);
        message.put_signature(kind);
        match *kind {
            "g" => message.put_signature(text),
            _ => message.put_text(text),
        }
    });
    message.align(8);
    message.bytes.extend(&body.bytes);
    message.bytes
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An answer.
    Return,
    /// A refusal.
    Error,
    /// A broadcast.
    Signal,
    /// Anything else: nothing for us.
    Other,
}

/// A message that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// What it is.
    pub(super) kind: Kind,
    /// Which call it answers.
    pub(super) reply_to: Option<u32>,
    /// The signal's name.
    pub(super) member: Option<String>,
    /// The error's name.
    pub(super) error: Option<String>,
    /// The arguments; only their strings and numbers are asked for.
    body: Vec<u8>,
    little: bool,
}

impl Message {
    /// A reader of its arguments.
    pub(super) fn arguments(&self) -> Reader<'_> {
        Reader { bytes: &self.body, at: 0, little: self.little }
    }
}

/// How many bytes the message at the front of `bytes` has; none if that cannot be said yet. An error: it is no message.
pub(super) fn message_length(bytes: &[u8]) -> Result<Option<usize>, &'static str> {
    let Some(head) = bytes.get(..16) else { return Ok(None) };
    if !matches!(head[0], b'l' | b'B') || head[3] != 1 {
        return Err("it does not speak D-Bus");
    }
    let mut reader = Reader { bytes: head, at: 4, little: head[0] == LITTLE };
    let (Some(body), _, Some(fields)) = (reader.u32(), reader.u32(), reader.u32()) else { return Ok(None) };
    let (body, fields) = (body as usize, fields as usize);
    if body > LONGEST || fields > LONGEST {
        return Err("a message is longer than any should be");
    }
    Ok(Some((16 + fields).next_multiple_of(8) + body))
}

/// Reads a whole message, of the length that [`message_length`] said. None: it is malformed.
pub(super) fn parse(bytes: &[u8]) -> Option<Message> {
    let little = *bytes.first()? == LITTLE;
    let kind = match bytes.get(1)? {
        2 => Kind::Return,
        3 => Kind::Error,
        4 => Kind::Signal,
        _ => Kind::Other,
    };
    let mut reader = Reader { bytes, at: 12, little };
    let end = 16 + reader.u32()? as usize;
    let body = bytes.get(end.next_multiple_of(8)..)?.to_vec();
    let mut message = Message { kind, reply_to: None, member: None, error: None, body, little };
    while reader.at < end {
        reader.align(8);
        let code = reader.u8()?;
        match (code, reader.signature()?.as_str()) {
            (3, "s") => message.member = Some(reader.text()?),
            (4, "s") => message.error = Some(reader.text()?),
            (5, "u") => message.reply_to = Some(reader.u32()?),
            (_, "s" | "o") => reader.text().map(drop)?,
            (_, "g") => reader.signature().map(drop)?,
            (_, "u") => reader.u32().map(drop)?,
            _ => return None,
        }
    }
    Some(message)
}

/// Reads values one after the other. None: there is no such value.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    little: bool,
}

impl Reader<'_> {
    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, count: usize) -> Option<&[u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    /// A number.
    pub(super) fn u32(&mut self) -> Option<u32> {
        self.align(4);
        let little = self.little;
        let bytes = self.take(4)?.try_into().ok()?;
        Some(if little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    }

    /// A string or an object's path.
    pub(super) fn text(&mut self) -> Option<String> {
        let length = self.u32()? as usize;
        self.ended(length)
    }

    fn signature(&mut self) -> Option<String> {
        let length = self.u8()?.into();
        self.ended(length)
    }

    /// Characters and the NUL after them.
    fn ended(&mut self, length: usize) -> Option<String> {
        let text = String::from_utf8(self.take(length)?.to_vec()).ok()?;
        (self.u8()? == 0).then_some(text)
    }
}

/// For the fuzz targets: messages one after the other, and all that is asked of their arguments.
pub(crate) fn read_foreign(mut bytes: &[u8]) {
    while let Ok(Some(length)) = message_length(bytes) {
        let Some((message, rest)) = bytes.split_at_checked(length) else { return };
        if let Some(message) = parse(message) {
            let mut arguments = message.arguments();
            while arguments.text().is_some() {}
            while arguments.u32().is_some() {}
        }
        bytes = rest;
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
