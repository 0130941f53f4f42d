//! Messages made to be dear: each family grows with its length in one way that a careless reader
//! would pay for with the square.

/// A family: its name, and its member of about so many bytes.
pub type Family = (&'static str, fn(usize) -> Vec<u8>);

const HEAD: &str = "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKc;rport\r\n\
    From: <sip:u1@example.com>;tag=f\r\nTo: <sip:u1@example.com>\r\nCall-ID: c\r\n\
    CSeq: 1 REGISTER\r\n";

fn with(more: &str) -> Vec<u8> {
    format!("REGISTER sip:example.com SIP/2.0\r\n{HEAD}{more}\r\n\r\n").into_bytes()
}

/// A header line that repeats `piece` behind `front`.
fn header(front: &str, piece: &str, len: usize) -> Vec<u8> {
    with(&format!("{front}{}", piece.repeat(len / piece.len())))
}

/// The same header in place of one of the head's own.
fn instead(name: &str, front: &str, piece: &str, len: usize) -> Vec<u8> {
    let text = String::from_utf8(with("X: y")).expect("text");
    let line = text.split_inclusive("\r\n").find(|line| line.starts_with(name)).expect("a line");
    let longer = format!("{name}: {front}{}\r\n", piece.repeat(len / piece.len()));
    text.replacen(line, &longer, 1).into_bytes()
}

/// `count` parameters of different names.
pub fn names(count: usize) -> String {
    let letter = |n: usize| char::from(b'a' + (n % 26) as u8);
    (0..count).map(|n| format!(";{}{}{}", letter(n / 676), letter(n / 26), letter(n))).collect()
}

/// All families.
pub const FAMILIES: &[Family] = &[
    ("line ends in front", |n| ["\r\n".repeat(n / 2).into_bytes(), with("X: y")].concat()),
    ("CR without LF", |n| header("X: ", "\r", n)),
    ("CR and letters", |n| header("X: ", "\rx", n)),
    ("folds", |n| header("X: y", "\r\n ", n)),
    ("folds of a Via", |n| instead("Via", "SIP/2.0/UDP h", "\r\n ", n)),
    ("headers", |n| header("", "a:b\r\n", n)),
    ("lines without a name", |n| header("X: y\r\n", "?\r\n", n)),
    ("names without a colon", |n| header("", "a \r\n", n)),
    ("blanks before a colon", |n| header("X", " ", n)),
    ("Content-Lengths", |n| header("", "l:0\r\n", n)),
    ("blanks of a start line", |n| {
        [b"REGISTER ", &b" ".repeat(n)[..], b"\r\n", HEAD.as_bytes(), b"\r\n"].concat()
    }),
    ("Via values", |n| instead("Via", "SIP/2.0/UDP h", ",SIP/2.0/UDP h", n)),
    ("Via parameters", |n| instead("Via", "SIP/2.0/UDP h", ";a", n)),
    ("Via lines", |n| header("Via: a", "\r\nv:b", n)),
    ("display name", |n| instead("From", "", "a ", n)),
    ("quotes that stay open", |n| instead("From", "\"", "\\\"", n)),
    ("brackets that stay open", |n| instead("To", "", "<", n)),
    ("To parameters", |n| instead("To", "<sip:u1@example.com>", ";a=\"b\"", n)),
    ("escapes of a user", |n| instead("To", "<sip:", "%41", n)),
    ("labels of a host", |n| instead("To", "<sip:u1@a", ".a", n)),
    ("Contacts", |n| header("m: <sip:a@h>", ",<sip:a@h>", n)),
    ("Contact lines", |n| header("m: <sip:a@h>", "\r\nm:<sip:a@h>", n)),
    ("Contact parameters", |n| header("m: <sip:a@h>", ";a", n)),
    ("Contact display names", |n| header("m: a", " a", n)),
    ("option tags", |n| header("Require: a", ",a", n)),
    ("Authorization parameters", |n| header("Authorization: Digest a=b", ",a=b", n)),
    ("Authorization lines", |n| header("Authorization: Basic x", "\r\nAuthorization: Basic x", n)),
    ("URI parameters", |n| {
        with(&format!("Contact: <sip:a@h{}>", names((n / 4).min(26 * 26 * 26))))
    }),
];
