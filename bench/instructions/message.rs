//! Bytes and messages: reading a REGISTER of some 700 bytes with 14 headers, writing its 200.

use std::hint::black_box;

use aorta::sip::header::contact::Contacts;
use aorta::sip::write::{ContactLine, Responder};
use aorta::sip::{Framing, HeaderName, HeaderTable, Parsed, RequestHead, parse};

use super::phones::{Ask, Phones, REALM};
use super::{Primitive, Round};

pub const PRIMITIVES: &[Primitive] = &[
    Primitive { name: "parse-register", rounds: 200, operations: 1, prepare: parse_register },
    Primitive { name: "read-headers", rounds: 200, operations: 1, prepare: read_headers },
    Primitive { name: "write-200", rounds: 200, operations: 1, prepare: write_200 },
];

/// One phone's REGISTER with credentials, for as long as the program runs.
fn register() -> &'static [u8] {
    let mut bytes = Vec::new();
    Phones::new(1).write(0, Ask::Refresh, &mut bytes);
    bytes.leak()
}

fn parse_register(_: u32) -> Round {
    let (bytes, mut table) = (register(), HeaderTable::new());
    Box::new(move || {
        let parsed = parse(black_box(bytes), Framing::Datagram, &mut table);
        assert!(matches!(parsed, Parsed::Complete { .. }));
    })
}

fn message() -> aorta::sip::Message<'static> {
    let table = Box::leak(Box::new(HeaderTable::new()));
    match parse(register(), Framing::Datagram, table) {
        Parsed::Complete { message, .. } => message,
        _ => panic!("a good message"),
    }
}

fn read_headers(_: u32) -> Round {
    let message = message();
    Box::new(move || {
        let message = black_box(&message);
        let mut contacts = Contacts::new();
        assert!(message.check_request().is_ok());
        assert!(message.contacts(&mut contacts).is_ok());
        let credentials = message.credentials(HeaderName::Authorization, REALM);
        assert!(credentials.is_ok_and(|found| found.is_some()));
    })
}

fn write_200(_: u32) -> Round {
    let message = message();
    let head: RequestHead<'static> = message.check_request().expect("a good head");
    let line = ContactLine {
        uri: b"sip:u1@10.0.0.1:5060;transport=udp",
        expires: 3600,
        q: None,
        instance: None,
        reg_id: None,
        pub_gruu: None,
        temp_gruu: None,
    };
    let mut buffer = vec![0; 1500];
    Box::new(move || {
        let responder = Responder::new(black_box(message), &head, Phones::source());
        let written =
            responder.begin(&mut buffer, 200, b"0123456789abcdef").and_then(|mut open| {
                open.contact(black_box(&line))?;
                open.finish()
            });
        assert!(written.is_ok());
    })
}
