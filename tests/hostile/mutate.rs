//! Makes hostile messages of good ones: a mutator that knows lines, headers, numbers, folds and
//! the lengths at which things break, beside one that knows only bytes.

use super::rng::Rng;

/// One more than the longest datagram that UDP over IPv4 or the parser takes.
const LENGTH_MAX: usize = 65_536;

/// Bytes that mean something to a parser, or should not.
const BYTES: &[u8] = b"\0\r\n \t\"\\<>;,:@%=?&*'()[]{}/+-.\x7f\x80\xc0\xff09azAZ\x0b\x1b";

/// Pieces that mean something together.
const PIECES: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b"\r\n ",
    b"\n\t",
    b"\\\"",
    b"\"",
    b"\\",
    b"%00",
    b"%0d%0a",
    b"%",
    b"%4",
    b"%zz",
    b"\xc0\xaf",
    b"\xed\xa0\x80",
    b"\xf5\x80\x80\x80",
    b"\xef\xbb\xbf",
    b"\0",
    b"<sip:u1@example.com>",
    b"sip:u2@example.com",
    b"sips:u1@example.com;transport=tcp?a=b",
    b"tel:+15550100",
    b"<>",
    b"*",
    b", ",
    b";",
    b";;",
    b";tag=",
    b";tag=x;tag=y",
    b";expires=0",
    b";expires=4294967296",
    b";q=0.1234",
    b";q=1.001",
    b";+sip.instance=\"<urn:uuid:0>\";reg-id=1",
    b";reg-id=0",
    b";rport",
    b";rport=0",
    b";received=192.0.2.99",
    b";maddr=239.255.255.1;ttl=255",
    b";branch=z9hG4bK",
    b":0",
    b":65535",
    b":65536",
    b"[::1]",
    b"[::ffff:192.0.2.1]",
    b"[",
    b"256.256.256.256",
    b"01.2.3.4",
    b"SIP/2.0",
    b"SIP/3.0",
    b"ACK",
    b"REGISTER",
    b"username=\"u2\"",
    b"realm=\"\"",
    b"qop=auth-int",
    b"nc=ffffffff",
    b"algorithm=MD5-sess",
    b"Digest ",
    b"Basic dTE6cDE=",
];

/// Whole header lines.
const LINES: &[&[u8]] = &[
    b"Via: SIP/2.0/UDP 203.0.113.9:5060;branch=z9hG4bKinjected",
    b"v: SIP/2.0/TCP [2001:db8::9];rport;received=1.2.3.4, SIP/2.0/UDP h",
    b"Via:",
    b"Contact: *",
    b"m: <sip:evil@203.0.113.9>;expires=7200",
    b"Contact: <sip:a@h>, <sip:b@h>;q=0, sip:c@h",
    b"Expires: 0",
    b"Expires: 4294967295",
    b"Expires: 99999999999999999999999",
    b"Content-Length: 0",
    b"Content-Length: 65535",
    b"l: 18446744073709551616",
    b"Content-Length: -1",
    b"CSeq: 4294967295 REGISTER",
    b"CSeq: 4294967296 REGISTER",
    b"CSeq: 0 ACK",
    b"Max-Forwards: 0",
    b"Max-Forwards: 256",
    b"To: <sip:u2@example.com>",
    b"From: \"\\\" <sip:u1@example.com>;tag=x",
    b"Call-ID: a@b@c",
    b"Require: path, outbound, \xc3\xa9",
    b"Require: nothing",
    b"Proxy-Require: nothing",
    b"Supported: path",
    b"Path: <sip:proxy.example.com;lr>",
    b"Route: <sip:h;lr>",
    b"User-Agent: friendly-scanner",
    b"Authorization: Digest username=\"u1\"",
    b"Authorization: Basic dTE6cDE=",
    b"Content-Type: message/sip",
    b"Content-Encoding: gzip",
    b" folded on nothing",
    b": no name",
    b"No colon",
    b"X-\0: nul",
];

/// Numbers at which something ends.
const NUMBERS: &[&[u8]] = &[
    b"",
    b"0",
    b"00000000000000000000000000000001",
    b"1",
    b"255",
    b"256",
    b"65535",
    b"65536",
    b"2147483648",
    b"4294967295",
    b"4294967296",
    b"18446744073709551615",
    b"18446744073709551616",
    b"-1",
    b"1e9",
    b"0x10",
];

/// Turns `message` into something hostile; `others` give what is spliced in.
pub fn mutate(rng: &mut Rng, message: &mut Vec<u8>, others: &[Vec<u8>]) {
    let changes = if rng.once_in(2) { 1 } else { 2 + rng.below(6) };
    for _ in 0..changes {
        if rng.once_in(10) {
            of_credentials(rng, message);
        } else if rng.once_in(3) {
            of_bytes(rng, message);
        } else {
            of_lines(rng, message, others);
        }
    }
    if rng.once_in(300) {
        swell(rng, message);
    }
    message.truncate(LENGTH_MAX);
}

fn of_bytes(rng: &mut Rng, message: &mut Vec<u8>) {
    let at = rng.below(message.len() + 1);
    let len = rng.below(16).min(message.len() - at);
    match rng.below(8) {
        0 if at < message.len() => message[at] ^= 1 << rng.below(8),
        1 if at < message.len() => message[at] = BYTES[rng.below(BYTES.len())],
        2 => message.insert(at, BYTES[rng.below(BYTES.len())]),
        3 => drop(message.drain(at..at + len)),
        4 => insert(message, at, rng.one(PIECES)),
        5 => message.truncate(at),
        6 => {
            let copy = message[at..at + len].to_vec();
            let to = rng.below(message.len() + 1);
            insert(message, to, &copy);
        }
        _ => {
            let escape = message.get(at).map(|byte| format!("%{byte:02x}"));
            if let Some(escape) = escape {
                message.splice(at..=at, escape.into_bytes());
            }
        }
    }
}

/// Credentials that say something else than what their digest was made over, or have another
/// digest; a message without any stays as it is.
fn of_credentials(rng: &mut Rng, message: &mut [u8]) {
    let names: [&[u8]; 8] = [
        b"response=\"",
        b"response=\"",
        b" nonce=\"",
        b"cnonce=\"",
        b" nc=",
        b"username=\"",
        b"uri=\"",
        b"realm=\"",
    ];
    let name = rng.one(&names);
    let found = message.windows(name.len()).position(|window| window == name);
    let Some(value_at) = found.map(|at| at + name.len()) else { return };
    let len = message[value_at..].iter().take_while(|byte| !b"\",\r\n".contains(byte)).count();
    if len > 0 {
        let digits = b"0123456789abcdef";
        message[value_at + rng.below(len)] = digits[rng.below(digits.len())];
    }
}

fn of_lines(rng: &mut Rng, message: &mut Vec<u8>, others: &[Vec<u8>]) {
    let Some(line) = Line::any(rng, message) else { return };
    let text = message[line.start..line.end].to_vec();
    let value_at = text.iter().position(|&byte| byte == b':').map_or(0, |colon| colon + 1);
    let inside = line.start + value_at + rng.below(text.len() - value_at + 1);
    match rng.below(18) {
        0 => insert_line(message, line.start, &text),
        1 => drop(message.drain(line.start..line.next)),
        2 => {
            message.drain(line.start..line.next);
            if let Some(other) = Line::any(rng, message) {
                insert_line(message, other.start, &text);
            }
        }
        3 => insert_line(message, line.start, rng.one(LINES)),
        // A line of another message, its credentials for instance.
        4 => {
            let other = &others[rng.below(others.len())];
            if let Some(from) = Line::any(rng, other) {
                let borrowed = other[from.start..from.end].to_vec();
                insert_line(message, line.start, &borrowed);
            }
        }
        // The head of one and the tail of another.
        5 => {
            let other = &others[rng.below(others.len())];
            message.truncate(line.start);
            message.extend_from_slice(&other[rng.below(other.len() + 1)..]);
        }
        6 => number(rng, message),
        7 => {
            let fold = rng.one::<[u8]>(&[b"\r\n ", b"\n\t", b"\r\n \r\n ", b"\r\n\t \r\n"]);
            insert(message, inside, fold);
        }
        8 => {
            let bare = rng.one::<[u8]>(&[b"\r\n", b"\n", b"\r", b"\n\r", b"\r\n\r\n"]);
            let injected = [bare, rng.one(LINES)].concat();
            insert(message, inside, &injected);
        }
        9 => insert(message, inside, rng.one(PIECES)),
        10 => {
            let pairs =
                rng.one::<[u8]>(&[b";a=b", b";a", b";tag=x", b",", b", <sip:a@h>", b"?a=b"]);
            insert(message, inside, &pairs.repeat(1 + rng.below(60)));
        }
        11 => {
            let lines = rng.one(LINES);
            let bomb = [lines, b"\r\n"].concat().repeat(1 + rng.below(140));
            insert(message, line.start, &bomb);
        }
        12 => {
            let upper = rng.once_in(2);
            let name = &mut message[line.start..line.start + value_at];
            if upper { name.make_ascii_uppercase() } else { name.make_ascii_lowercase() }
        }
        13 => {
            let compact =
                rng.one::<[u8]>(&[b"v:", b"f:", b"t:", b"i:", b"m:", b"l:", b"k:", b"c:"]);
            if value_at > 0 {
                message.splice(line.start..line.start + value_at, compact.iter().copied());
            }
        }
        // Lines end in LF alone.
        14 => message.retain(|&byte| byte != b'\r'),
        15 => {
            let method = rng.one::<[u8]>(&[
                b"ACK",
                b"OPTIONS",
                b"INVITE",
                b"CANCEL",
                b"BYE",
                b"ack",
                b"SUBSCRIBE",
                b"SIP/2.0",
            ]);
            let space = message.iter().position(|&byte| byte == b' ').unwrap_or(0);
            message.splice(..space, method.iter().copied());
        }
        16 => {
            let value = rng.one(PIECES).to_vec();
            message.splice(line.start + value_at..line.end, value);
        }
        _ => {
            let front = rng.one::<[u8]>(&[b"\r\n", b"\n", b"\r\n\r\n\r\n\r\n", b" ", b"\0", b"\r"]);
            insert(message, 0, front);
        }
    }
}

/// A number becomes another one.
fn number(rng: &mut Rng, message: &mut Vec<u8>) {
    let from = rng.below(message.len());
    let Some(start) = message[from..].iter().position(u8::is_ascii_digit).map(|at| from + at)
    else {
        return;
    };
    let len = message[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    message.splice(start..start + len, rng.one(NUMBERS).iter().copied());
}

/// As long as a datagram gets, or a byte around it.
fn swell(rng: &mut Rng, message: &mut Vec<u8>) {
    let at = rng.below(message.len() + 1);
    let room = LENGTH_MAX.saturating_sub(message.len());
    let piece = if rng.once_in(2) { rng.one(PIECES) } else { rng.one(LINES) };
    let piece = if rng.once_in(3) { [piece, b"\r\n"].concat() } else { piece.to_vec() };
    let times = [room, room / 2, room / 8][rng.below(3)] / piece.len();
    insert(message, at, &piece.repeat(times));
    // The longest that is taken, and the shortest that is not.
    if times * piece.len() + piece.len() > room {
        message.resize(LENGTH_MAX - 2 + rng.below(3), b'x');
    }
}

fn insert(message: &mut Vec<u8>, at: usize, piece: &[u8]) {
    message.splice(at..at, piece.iter().copied());
}

fn insert_line(message: &mut Vec<u8>, at: usize, line: &[u8]) {
    insert(message, at, &[line, b"\r\n"].concat());
}

/// Where a line stands: its text without its end, and the start of the next.
struct Line {
    start: usize,
    end: usize,
    next: usize,
}

impl Line {
    /// The line around a random place; `None` in an empty message.
    fn any(rng: &mut Rng, message: &[u8]) -> Option<Line> {
        if message.is_empty() {
            return None;
        }
        let at = rng.below(message.len());
        let start = message[..at].iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let feed = message[start..].iter().position(|&byte| byte == b'\n');
        let next = feed.map_or(message.len(), |feed| start + feed + 1);
        let end = feed.map_or(next, |feed| {
            let cr = feed > 0 && message[start + feed - 1] == b'\r';
            start + feed - usize::from(cr)
        });
        Some(Line { start, end, next })
    }
}
