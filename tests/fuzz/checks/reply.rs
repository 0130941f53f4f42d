//! What every response must be, held against the request it answers: well-formed, with nothing
//! of the request beginning a line of its own, and with what RFC 3261 8.2.6.2 has it copy.

use aorta::limits::{HEADERS_MAX, MESSAGE_BYTES_MAX};
use aorta::sip::{Framing, HeaderTable, Parsed, parse};

use super::naive::{self, Naive, words};

/// Every header the server ever writes.
const NAMES: [&[u8]; 27] = [
    b"Via",
    b"From",
    b"To",
    b"Call-ID",
    b"CSeq",
    b"Contact",
    b"WWW-Authenticate",
    b"Allow",
    b"Accept",
    b"Accept-Encoding",
    b"Accept-Language",
    b"Supported",
    b"Unsupported",
    b"Min-Expires",
    b"Retry-After",
    b"Path",
    b"Require",
    b"Flow-Timer",
    b"Service-Route",
    b"Date",
    b"Authentication-Info",
    b"Proxy-Authenticate",
    b"Proxy-Authentication-Info",
    b"Allow-Events",
    b"Record-Route",
    b"Expires",
    b"Content-Length",
];

/// Bytes that a refusal may be longer than its request, where every header of the request is
/// written again in its long form: a stranger gets no more out than he puts in.
const GROWTH_MAX: usize = 1024;

/// Checks a response; gives its status.
pub fn check(request: &[u8], response: &[u8]) -> u16 {
    let shown = || format!("{}\n-- answered --\n{}", naive::shown(request), naive::shown(response));
    let asked = Naive::read(request).unwrap_or_else(|| panic!("no message: {}", shown()));
    assert!(!asked.is_response(), "a response is answered: {}", shown());
    assert_ne!(asked.method(), b"ACK", "an ACK is answered: {}", shown());
    assert!(asked.all(b"Via", b"v").next().is_some(), "no Via, but an answer: {}", shown());

    let head = response.strip_suffix(b"\r\n\r\n").unwrap_or_else(|| panic!("no end: {}", shown()));
    let lines: Vec<&[u8]> = split_lines(head);
    let clean = lines.iter().all(|line| !line.contains(&b'\r') && !line.contains(&b'\n'));
    assert!(clean, "a line end within a line: {}", shown());
    let status = status_of(lines[0]).unwrap_or_else(|| panic!("no status line: {}", shown()));
    let mut fields = Vec::with_capacity(lines.len());
    for line in &lines[1..] {
        let colon = line.windows(2).position(|pair| pair == b": ");
        let colon = colon.unwrap_or_else(|| panic!("no header line: {}", shown()));
        let (name, value) = (&line[..colon], &line[colon + 2..]);
        assert!(NAMES.contains(&name), "a header that nobody wrote: {}", shown());
        fields.push((name, value));
    }
    let all = |wanted: &'static [u8]| {
        fields.iter().filter(move |(name, _)| *name == wanted).map(|(_, value)| *value)
    };
    assert_eq!(fields.last(), Some(&(&b"Content-Length"[..], &b"0"[..])), "{}", shown());
    assert_eq!(all(b"Content-Length").count(), 1, "{}", shown());
    assert!(status == 200 || all(b"Contact").next().is_none(), "{}", shown());
    assert_eq!(status == 401, all(b"WWW-Authenticate").next().is_some(), "{}", shown());

    for (name, compact) in [(&b"From"[..], &b"f"[..]), (b"Call-ID", b"i"), (b"CSeq", b"")] {
        let copied = fields.iter().filter(|(found, _)| *found == name).map(|(_, v)| words(v));
        let stood = asked.all(name, compact).take(1).map(<[u8]>::to_vec);
        assert!(copied.eq(stood), "{} is not copied: {}", name.escape_ascii(), shown());
    }
    let mut to = all(b"To").map(words);
    match asked.all(b"To", b"t").next() {
        None => assert!(to.next().is_none(), "{}", shown()),
        Some(stood) => {
            let to = to.next().unwrap_or_else(|| panic!("To is not copied: {}", shown()));
            let tail = to.strip_prefix(stood).unwrap_or_else(|| panic!("another To: {}", shown()));
            assert!(tail.is_empty() || tail.starts_with(b";tag="), "{}", shown());
        }
    }
    assert!(all(b"To").count() <= 1, "{}", shown());
    check_vias(&asked, &all(b"Via").collect::<Vec<_>>(), &shown);

    if status != 200 {
        assert!(response.len() <= request.len() + GROWTH_MAX, "an amplifier: {}", shown());
    }
    if fields.len() <= HEADERS_MAX && response.len() <= MESSAGE_BYTES_MAX {
        let mut table = HeaderTable::new();
        match parse(response, Framing::Datagram, &mut table) {
            Parsed::Complete { message, .. } => assert_eq!(message.status(), Some(status)),
            other => panic!("what was written is not read: {other:?}: {}", shown()),
        }
    }
    status
}

/// As many as there were, in their order; the top one but for `received`, `rport` and `keep`.
fn check_vias(asked: &Naive, written: &[&[u8]], shown: &impl Fn() -> String) {
    let stood: Vec<&[u8]> = asked.all(b"Via", b"v").collect();
    assert_eq!(written.len(), stood.len(), "as many Via as before: {}", shown());
    for (below, stood) in written.iter().zip(&stood).skip(1) {
        assert_eq!(words(below), *stood, "another Via: {}", shown());
    }
    // Quoted strings may hold what would look like a parameter here.
    if !stood[0].contains(&b'"') {
        assert_eq!(own_params(written[0]), own_params(stood[0]), "another top Via: {}", shown());
    }
}

/// A Via without white space and without the parameters that a server fills in.
fn own_params(via: &[u8]) -> Vec<Vec<u8>> {
    let end = via.iter().position(|&byte| byte == b',').unwrap_or(via.len());
    let bare = |piece: &[u8]| -> Vec<u8> {
        piece.iter().copied().filter(|byte| !b" \t\r\n".contains(byte)).collect()
    };
    let filled_in = |piece: &Vec<u8>| {
        let name = piece.split(|&byte| byte == b'=').next().unwrap_or_default();
        let ours: [&[u8]; 3] = [b"received", b"rport", b"keep"];
        ours.iter().any(|own| name.eq_ignore_ascii_case(own))
    };
    via[..end].split(|&byte| byte == b';').map(bare).filter(|piece| !filled_in(piece)).collect()
}

fn split_lines(head: &[u8]) -> Vec<&[u8]> {
    let (mut lines, mut rest) = (Vec::new(), head);
    while let Some(at) = rest.windows(2).position(|pair| pair == b"\r\n") {
        lines.push(&rest[..at]);
        rest = &rest[at + 2..];
    }
    lines.push(rest);
    lines
}

fn status_of(line: &[u8]) -> Option<u16> {
    let rest = line.strip_prefix(b"SIP/2.0 ")?;
    let (digits, rest) = rest.split_at_checked(3)?;
    let status = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (rest.starts_with(b" ") && (200..700).contains(&status)).then_some(status)
}
