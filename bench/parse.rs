//! Reading a 700-byte REGISTER with 14 headers, and writing its 200.
//! Limits: 400 ns for the parse at first, 200 ns to hold; 150 ns for the 200 at first, 60 to hold.

use std::hint::black_box;
use std::net::SocketAddr;

use aorta::sip::header::contact::Contacts;
use aorta::sip::write::{ContactLine, Responder};
use aorta::sip::{Framing, HeaderName, HeaderTable, Parsed, parse};

#[path = "harness/mod.rs"]
mod harness;
use harness::measure;

const REGISTER: &str = "REGISTER sip:example.com SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.31:5060;branch=z9hG4bK-524287-1---f0c32b1a9d2a;rport\r\n\
    Max-Forwards: 70\r\n\
    Contact: <sip:u123456@192.0.2.31:5060;transport=udp;ob>;expires=3600\r\n\
    To: <sip:u123456@example.com>\r\n\
    From: \"User 123456\" <sip:u123456@example.com>;tag=8a3f5c21\r\n\
    Call-ID: 92740NzE1YjQ5ZTM1NjQ4M2I2@192.0.2.31\r\n\
    CSeq: 41 REGISTER\r\n\
    Expires: 3600\r\n\
    Allow: INVITE, ACK, CANCEL, BYE\r\n\
    Supported: replaces, path\r\n\
    User-Agent: Acme Phone 5.12\r\n\
    Authorization: Digest username=\"u123456\", realm=\"example.com\", \
    nonce=\"6f1c2a9b8d4e00af7c3b\", uri=\"sip:example.com\", \
    response=\"0b2e7f5a9c1d4e3f8a6b5c4d3e2f1a0b\", \
    algorithm=MD5, qop=auth, nc=00000029, cnonce=\"4d1e\"\r\n\
    Allow-Events: presence\r\n\
    Content-Length: 0\r\n\r\n";

fn main() {
    let bytes = REGISTER.as_bytes();
    let mut table = HeaderTable::new();
    let Parsed::Complete { message, .. } = parse(bytes, Framing::Datagram, &mut table) else {
        panic!("the message must be whole")
    };
    let source: SocketAddr = "198.51.100.7:40000".parse().expect("an address");
    println!("{} bytes, {} headers", bytes.len(), message.headers().count());

    let mut scratch = HeaderTable::new();
    measure("parse", Some(400.0), 20_000, || {
        let parsed = parse(black_box(bytes), Framing::Datagram, &mut scratch);
        black_box(matches!(parsed, Parsed::Complete { .. }));
    });
    measure("check_request", None, 20_000, || {
        black_box(black_box(&message).check_request().is_ok());
    });
    measure("contacts", None, 20_000, || {
        let mut contacts = Contacts::new();
        black_box(black_box(&message).contacts(&mut contacts).is_ok());
        black_box(contacts.as_slice().len());
    });
    measure("credentials", None, 20_000, || {
        let found = black_box(&message).credentials(HeaderName::Authorization, b"example.com");
        black_box(found.is_ok_and(|c| c.is_some()));
    });
    let mut scratch = HeaderTable::new();
    measure("parse and every view of a REGISTER", None, 20_000, || {
        let parsed = parse(black_box(bytes), Framing::Datagram, &mut scratch);
        let Parsed::Complete { message, .. } = parsed else { return };
        let mut contacts = Contacts::new();
        black_box(message.check_request().is_ok());
        black_box(message.contacts(&mut contacts).is_ok());
        black_box(contacts.as_slice().len());
        black_box(message.credentials(HeaderName::Authorization, b"example.com").is_ok());
    });
    let head = message.check_request().expect("a good request");
    let line = ContactLine {
        uri: b"sip:u123456@192.0.2.31:5060;transport=udp;ob",
        expires: 3600,
        q: None,
        instance: None,
        reg_id: None,
        pub_gruu: None,
        temp_gruu: None,
    };
    let mut buf = [0u8; 1500];
    measure("write the 200", Some(150.0), 20_000, || {
        let responder = Responder::new(black_box(message), &head, source);
        let written = responder.begin(&mut buf, 200, b"0123456789abcdef").and_then(|mut r| {
            r.contact(&line)?;
            r.finish()
        });
        black_box(written.is_ok());
    });
}
