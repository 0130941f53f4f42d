//! Names of the headers that are interpreted, their compact forms, and how they are recognised.

macro_rules! header_names {
    ($($(#[$doc:meta])* $variant:ident = $text:literal $(, $compact:literal)?;)*) => {
        /// Name of a header field. Those nobody interprets are all [`HeaderName::Other`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum HeaderName {
            $($(#[$doc])* $variant,)*
            /// Any other, its bytes in the table.
            Other,
        }

        impl HeaderName {
            /// Every name that is interpreted.
            pub const KNOWN: &[HeaderName] = &[$(HeaderName::$variant),*];

            /// The name as its RFC writes it; empty for [`HeaderName::Other`].
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(HeaderName::$variant => $text,)*
                    HeaderName::Other => "",
                }
            }

            /// The compact form (RFC 3261 7.3.3), where there is one.
            #[must_use]
            pub const fn compact(self) -> Option<u8> {
                match self {
                    $($(HeaderName::$variant => Some($compact),)?)*
                    _ => None,
                }
            }
        }
    };
}

header_names! {
    /// RFC 3261 20.42
    Via = "Via", b'v';
    /// RFC 3261 20.20
    From = "From", b'f';
    /// RFC 3261 20.39
    To = "To", b't';
    /// RFC 3261 20.8
    CallId = "Call-ID", b'i';
    /// RFC 3261 20.16
    CSeq = "CSeq";
    /// RFC 3261 20.22
    MaxForwards = "Max-Forwards";
    /// RFC 3261 20.10
    Contact = "Contact", b'm';
    /// RFC 3261 20.19
    Expires = "Expires";
    /// RFC 3261 20.7
    Authorization = "Authorization";
    /// RFC 3261 20.28
    ProxyAuthorization = "Proxy-Authorization";
    /// RFC 3261 20.14
    ContentLength = "Content-Length", b'l';
    /// RFC 3261 20.15
    ContentType = "Content-Type", b'c';
    /// RFC 3261 20.12
    ContentEncoding = "Content-Encoding", b'e';
    /// RFC 3261 20.32
    Require = "Require";
    /// RFC 3261 20.29
    ProxyRequire = "Proxy-Require";
    /// RFC 3261 20.37
    Supported = "Supported", b'k';
    /// RFC 3327
    Path = "Path";
    /// RFC 3261 20.34
    Route = "Route";
    /// RFC 3261 20.30
    RecordRoute = "Record-Route";
    /// RFC 3261 20.41
    UserAgent = "User-Agent";
    /// RFC 6665 8.2.1
    Event = "Event", b'o';
    /// RFC 6665 8.2.2
    AllowEvents = "Allow-Events", b'u';
    /// RFC 6665 8.2.3
    SubscriptionState = "Subscription-State";
    /// RFC 3261 20.1
    Accept = "Accept";
    /// RFC 3261 20.33
    RetryAfter = "Retry-After";
}

/// How many names are interpreted.
pub const KNOWN_COUNT: usize = HeaderName::KNOWN.len();

impl HeaderName {
    /// The header called `name`, in any case, compact or not (RFC 3261 7.3.1, 7.3.3). Length and
    /// first letter leave one candidate, which is compared once.
    #[inline]
    #[must_use]
    pub fn of(name: &[u8]) -> HeaderName {
        let Some(&first) = name.first() else { return HeaderName::Other };
        let candidate = match (name.len(), first | 0x20) {
            (1, letter) => return HeaderName::of_compact(letter),
            (2, b't') => HeaderName::To,
            (3, b'v') => HeaderName::Via,
            (4, b'f') => HeaderName::From,
            (4, b'c') => HeaderName::CSeq,
            (4, b'p') => HeaderName::Path,
            (5, b'r') => HeaderName::Route,
            (5, b'e') => HeaderName::Event,
            (6, b'a') => HeaderName::Accept,
            (7, b'c') if name[1] | 0x20 == b'a' => HeaderName::CallId,
            (7, b'c') => HeaderName::Contact,
            (7, b'e') => HeaderName::Expires,
            (7, b'r') => HeaderName::Require,
            (9, b's') => HeaderName::Supported,
            (10, b'u') => HeaderName::UserAgent,
            (11, b'r') => HeaderName::RetryAfter,
            (12, b'a') => HeaderName::AllowEvents,
            (12, b'm') => HeaderName::MaxForwards,
            (12, b'c') => HeaderName::ContentType,
            (12, b'r') => HeaderName::RecordRoute,
            (13, b'a') => HeaderName::Authorization,
            (13, b'p') => HeaderName::ProxyRequire,
            (14, b'c') => HeaderName::ContentLength,
            (16, b'c') => HeaderName::ContentEncoding,
            (18, b's') => HeaderName::SubscriptionState,
            (19, b'p') => HeaderName::ProxyAuthorization,
            _ => return HeaderName::Other,
        };
        if name.eq_ignore_ascii_case(candidate.as_str().as_bytes()) {
            candidate
        } else {
            HeaderName::Other
        }
    }

    /// Recognises a name that stands, its colon right behind it, at the start of `front`: the
    /// name, and its length. [`HeaderName::Other`] where it is none of the known ones, with the
    /// place of the first colon, 24 if there is none.
    ///
    /// Every header of every message comes by here: one look-up by a perfect hash, and one
    /// comparison of the candidate as three words.
    #[inline]
    #[must_use]
    pub fn of_front(front: &[u8; FRONT]) -> (HeaderName, usize) {
        let words = words(front);
        let colon = first(b':', words);
        let at = CANDIDATES[hash(colon, front[0], front[1])] as usize;
        let Some(spelling) = SPELLINGS.get(at) else { return (HeaderName::Other, colon) };
        let differ = (words[0] ^ spelling.text[0]) & spelling.care[0]
            | (words[1] ^ spelling.text[1]) & spelling.care[1]
            | (words[2] ^ spelling.text[2]) & spelling.care[2];
        if differ == 0 { (spelling.name, colon) } else { (HeaderName::Other, colon) }
    }

    #[inline]
    fn of_compact(letter: u8) -> HeaderName {
        match letter {
            b'v' => HeaderName::Via,
            b'f' => HeaderName::From,
            b't' => HeaderName::To,
            b'i' => HeaderName::CallId,
            b'm' => HeaderName::Contact,
            b'l' => HeaderName::ContentLength,
            b'c' => HeaderName::ContentType,
            b'e' => HeaderName::ContentEncoding,
            b'k' => HeaderName::Supported,
            b'o' => HeaderName::Event,
            b'u' => HeaderName::AllowEvents,
            _ => HeaderName::Other,
        }
    }
}

/// Bytes that hold any known name and its colon.
pub const FRONT: usize = 24;

/// A name and its colon as words to compare with: of each letter all bits but the case, of the
/// colon and signs all bits, of what follows none.
#[derive(Clone, Copy)]
struct Spelling {
    name: HeaderName,
    text: [u64; 3],
    care: [u64; 3],
}

const COMPACT_COUNT: usize = {
    let (mut i, mut n) = (0, 0);
    while i < KNOWN_COUNT {
        n += HeaderName::KNOWN[i].compact().is_some() as usize;
        i += 1;
    }
    n
};

static SPELLINGS: [Spelling; KNOWN_COUNT + COMPACT_COUNT] = SPELLED;
const SPELLED: [Spelling; KNOWN_COUNT + COMPACT_COUNT] = {
    const fn spell(name: HeaderName, text: &[u8]) -> Spelling {
        assert!(text.len() < FRONT);
        let (mut front, mut care) = ([0u8; FRONT], [0u8; FRONT]);
        let mut i = 0;
        while i < text.len() {
            front[i] = text[i];
            care[i] = if text[i].is_ascii_alphabetic() { !0x20 } else { !0 };
            i += 1;
        }
        front[i] = b':';
        care[i] = !0;
        Spelling { name, text: words(&front), care: words(&care) }
    }
    let none = Spelling { name: HeaderName::Other, text: [0; 3], care: [0; 3] };
    let mut all = [none; KNOWN_COUNT + COMPACT_COUNT];
    let (mut i, mut n) = (0, 0);
    while i < KNOWN_COUNT {
        let name = HeaderName::KNOWN[i];
        all[n] = spell(name, name.as_str().as_bytes());
        n += 1;
        if let Some(letter) = name.compact() {
            all[n] = spell(name, &[letter]);
            n += 1;
        }
        i += 1;
    }
    all
};

/// Which spelling a hash leaves as the candidate. That no two share one is checked here.
static CANDIDATES: [u8; SLOTS] = {
    let mut slots = [u8::MAX; SLOTS];
    let mut i = 0;
    while i < SPELLED.len() {
        let front = SPELLED[i].text;
        let (a, b) = (front[0] as u8, (front[0] >> 8) as u8);
        let slot = hash(first(b':', front), a, b);
        assert!(slots[slot] == u8::MAX);
        slots[slot] = i as u8;
        i += 1;
    }
    slots
};

const SLOTS: usize = 128;

/// Perfect over length and first two bytes of the spellings, in any case.
#[inline]
const fn hash(len: usize, first: u8, second: u8) -> usize {
    (len + 7 * (first | 0x20) as usize + 6 * (second | 0x20) as usize) % SLOTS
}

#[inline]
const fn words(front: &[u8; FRONT]) -> [u64; 3] {
    let [a, b, c, d, e, f, g, h, rest @ ..] = front;
    let [i, j, k, l, m, n, o, p, rest @ ..] = rest;
    [
        u64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h]),
        u64::from_le_bytes([*i, *j, *k, *l, *m, *n, *o, *p]),
        u64::from_le_bytes(*rest),
    ]
}

/// Place of the first `byte`; 24 if there is none.
#[inline]
const fn first(byte: u8, words: [u64; 3]) -> usize {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let mut i = 0;
    while i < 3 {
        let word = words[i] ^ (LOW * byte as u64);
        // The lowest marked byte is exactly the first that became zero.
        let zeros = word.wrapping_sub(LOW) & !word & HIGH;
        if zeros != 0 {
            return i * 8 + zeros.trailing_zeros() as usize / 8;
        }
        i += 1;
    }
    FRONT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_recognised_in_any_case_rfc_3261_7_3_1() {
        for &name in HeaderName::KNOWN {
            let text = name.as_str();
            for spelling in [text.to_string(), text.to_lowercase(), text.to_uppercase()] {
                assert_eq!(HeaderName::of(spelling.as_bytes()), name, "{spelling}");
            }
        }
    }

    #[test]
    fn compact_forms_are_the_letters_of_rfc_3261_7_3_3_and_no_other_byte() {
        for byte in 0..=255u8 {
            let expected = HeaderName::KNOWN
                .iter()
                .copied()
                .find(|n| n.compact() == Some(byte.to_ascii_lowercase()))
                .unwrap_or(HeaderName::Other);
            // Bytes such as 0x16 fold onto a letter too, but no name holds them.
            if byte.is_ascii_graphic() {
                assert_eq!(HeaderName::of(&[byte]), expected, "{byte:#x}");
            }
        }
    }

    /// The two ways to recognise a name agree, whatever byte stands wherever.
    #[test]
    fn the_words_at_the_front_say_what_the_name_says() {
        let spellings = HeaderName::KNOWN.iter().flat_map(|n| {
            let compact = n.compact().map(|c| vec![c]);
            compact.into_iter().chain([n.as_str().as_bytes().to_vec()])
        });
        for spelling in spellings {
            for at in 0..spelling.len() {
                for byte in 0..=255u8 {
                    let mut front = [b'x'; FRONT];
                    front[..spelling.len()].copy_from_slice(&spelling);
                    front[spelling.len()] = b':';
                    front[at] = byte;
                    let colon = front.iter().position(|&b| b == b':').unwrap();
                    // A known name is a token, so nothing else may pass for one.
                    let name = &front[..colon];
                    let token = crate::sip::scan::Class::TOKEN.span(name) == colon;
                    let name = if token { HeaderName::of(name) } else { HeaderName::Other };
                    assert_eq!(HeaderName::of_front(&front), (name, colon), "{front:?}");
                }
            }
        }
        assert_eq!(HeaderName::of_front(&[b'x'; FRONT]), (HeaderName::Other, FRONT));
        assert_eq!(HeaderName::of_front(&[b':'; FRONT]), (HeaderName::Other, 0));
    }

    #[test]
    fn a_name_that_differs_in_one_byte_is_another() {
        for &name in HeaderName::KNOWN {
            for at in 0..name.as_str().len() {
                let mut other = name.as_str().as_bytes().to_vec();
                other[at] = b'~';
                assert_eq!(HeaderName::of(&other), HeaderName::Other);
            }
            let longer = format!("{}x", name.as_str());
            assert_ne!(HeaderName::of(longer.as_bytes()), name);
        }
        assert_eq!(HeaderName::of(b"C%6Fntact"), HeaderName::Other);
        assert_eq!(HeaderName::of(b""), HeaderName::Other);
    }
}
