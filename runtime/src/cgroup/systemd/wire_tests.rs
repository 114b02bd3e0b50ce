// SPDX-License-Identifier: Apache-2.0
use proptest::prelude::*;

use super::*;

const CALLEE: Callee<'static> = Callee { service: "org.x", path: "/x", interface: "org.x.I", method: "Do" };

#[test]
fn a_call_is_laid_out_as_the_specification_says() {
    let bytes = call(7, CALLEE, &Body::default().text("ab").bool(true));
    let expected: &[u8] = b"l\x01\0\x01\x0c\0\0\0\x07\0\0\0\x48\0\0\0\
        \x01\x01o\0\x02\0\0\0/x\0\0\0\0\0\0\
        \x02\x01s\0\x07\0\0\0org.x.I\0\
        \x03\x01s\0\x02\0\0\0Do\0\0\0\0\0\0\
        \x06\x01s\0\x05\0\0\0org.x\0\0\0\
        \x08\x01g\0\x02sb\0\
        \x02\0\0\0ab\0\0\x01\0\0\0";
    assert_eq!(bytes, expected);
    assert_eq!(message_length(&bytes), Ok(Some(bytes.len())));
}

#[test]
fn arrays_count_their_bytes_without_the_padding_before_them() {
    let rates = Value::Rates(vec![("/d".into(), 5)]);
    let body = Body::default().properties(&[("N".into(), rates)]);
    assert_eq!(body.signature, "a(sv)");
    let expected: &[u8] = b"\x28\0\0\0\0\0\0\0\
        \x01\0\0\0N\0\x05a(st)\0\0\0\0\
        \x10\0\0\0\0\0\0\0\
        \x02\0\0\0/d\0\0\x05\0\0\0\0\0\0\0";
    assert_eq!(body.bytes, expected);
}

#[test]
fn what_was_written_is_read_again() {
    let mut bytes = call(9, CALLEE, &Body::default().text("one").numbers(&[3]).text("two"));
    bytes[1] = 4;
    let message = parse(&bytes).unwrap();
    assert_eq!((message.kind, message.member.as_deref()), (Kind::Signal, Some("Do")));
    let mut arguments = message.arguments();
    assert_eq!(arguments.text().as_deref(), Some("one"));
    assert_eq!((arguments.u32(), arguments.u32()), (Some(4), Some(3)));
    assert_eq!(arguments.text().as_deref(), Some("two"));
    assert_eq!(arguments.text(), None);
}

#[test]
fn what_is_no_message_is_told_from_what_is_not_whole_yet() {
    assert_eq!(message_length(b"l\x01\0\x01"), Ok(None));
    assert!(message_length(b"HTTP/1.1 400 Bad Request").is_err());
    assert!(message_length(b"l\x02\0\x01\xff\xff\xff\xff\0\0\0\0\0\0\0\0").is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), little: bool) {
        let mut bytes = bytes;
        if bytes.len() > 4 {
            bytes[0] = if little { b'l' } else { b'B' };
            bytes[3] = 1;
        }
        if let Ok(Some(length)) = message_length(&bytes) {
            bytes.resize(length.min(4096), 0);
        }
        if let Some(message) = parse(&bytes) {
            message.arguments().text();
        }
    }
}
