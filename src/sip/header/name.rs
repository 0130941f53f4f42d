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
            (7, b'c') if name[1] | 0x20 == b'a' => HeaderName::CallId,
            (7, b'c') => HeaderName::Contact,
            (7, b'e') => HeaderName::Expires,
            (7, b'r') => HeaderName::Require,
            (9, b's') => HeaderName::Supported,
            (10, b'u') => HeaderName::UserAgent,
            (12, b'm') => HeaderName::MaxForwards,
            (12, b'c') => HeaderName::ContentType,
            (12, b'r') => HeaderName::RecordRoute,
            (13, b'a') => HeaderName::Authorization,
            (13, b'p') => HeaderName::ProxyRequire,
            (14, b'c') => HeaderName::ContentLength,
            (16, b'c') => HeaderName::ContentEncoding,
            (19, b'p') => HeaderName::ProxyAuthorization,
            _ => return HeaderName::Other,
        };
        if name.eq_ignore_ascii_case(candidate.as_str().as_bytes()) {
            candidate
        } else {
            HeaderName::Other
        }
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
            _ => HeaderName::Other,
        }
    }
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
