//! Digest credentials of Authorization and Proxy-Authorization (RFC 3261 20.7, RFC 7616 3.4).
//! Whether they are right is the auth layer's question.

use crate::sip::cursor::Cursor;
use crate::sip::scan::{Class, eq_in_any_case, hex_value, unescaped_eq};

/// Digest algorithm named in credentials or a challenge (RFC 8760 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// `MD5`, also meant where none is named.
    Md5,
    /// `SHA-256`.
    Sha256,
    /// Any other; never offered, so never right.
    Other,
}

/// `qop` of the credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qop {
    /// `qop=auth`.
    Auth,
    /// Any other value.
    Other,
}

/// Digest credentials, quoted strings still escaped as they stood (quotes taken off).
#[derive(Clone, Copy, Debug)]
pub struct Credentials<'a> {
    /// `username`.
    pub username: &'a [u8],
    /// `realm`.
    pub realm: &'a [u8],
    /// `nonce`.
    pub nonce: &'a [u8],
    /// `uri`.
    pub uri: &'a [u8],
    /// `response`: as it stood; 32 or 64 hex digits if it is any good.
    pub response: &'a [u8],
    /// `algorithm`.
    pub algorithm: Algorithm,
    /// `qop`, absent for an RFC 2069 client.
    pub qop: Option<Qop>,
    /// `nc` as it stood (8 hex digits enter the digest as text) and as a number.
    pub nc: Option<(&'a [u8], u32)>,
    /// `cnonce`.
    pub cnonce: Option<&'a [u8]>,
}

/// Why a header gives no Digest credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialsError {
    /// Another scheme than Digest: to be skipped (RFC 4475 3.3.7).
    OtherScheme,
    /// Breaks the grammar, or lacks what every Digest answer needs.
    Malformed,
    /// A parameter stands twice (RFC 3261 7.3.1): which one was meant cannot be known.
    Duplicate,
}

impl<'a> Credentials<'a> {
    /// Reads the value of one Authorization header. White space may stand around every sign;
    /// `qop`, `algorithm` and `nc` may be quoted though the grammar has them bare, as phones do.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(value: &'a [u8]) -> Result<Credentials<'a>, CredentialsError> {
        let mut cursor = Cursor::new(value);
        cursor.lws();
        let scheme = cursor.take(Class::TOKEN);
        if scheme.is_empty() {
            return Err(CredentialsError::Malformed);
        }
        if !eq_in_any_case(scheme, b"digest") {
            return Err(CredentialsError::OtherScheme);
        }
        if !cursor.peek().is_some_and(|b| Class::LWS.has(b)) {
            return Err(CredentialsError::Malformed);
        }
        cursor.lws();
        let mut found = Found::default();
        loop {
            found.take_param(&mut cursor)?;
            if cursor.eat_spaced(b',') {
                continue;
            }
            if cursor.is_end() {
                return found.into_credentials();
            }
            return Err(CredentialsError::Malformed);
        }
    }

    /// The Digest credentials for `realm` among the values of all Authorization headers of a
    /// request; those of other schemes and other realms are skipped (RFC 3261 22.3), and so are
    /// those that answer no challenge. Where there are several, the first of an algorithm that is
    /// known counts, else the first: a phone may answer each of two challenges (RFC 8760 2.4).
    /// `None` if there are none.
    ///
    /// # Errors
    /// There are none, but Digest credentials that cannot be read.
    pub fn for_realm(
        values: impl IntoIterator<Item = &'a [u8]>,
        realm: &[u8],
    ) -> Result<Option<Credentials<'a>>, CredentialsError> {
        let (mut unknown, mut broken) = (None, None);
        for value in values {
            match Credentials::parse(value) {
                Ok(found) if !unescaped_eq(found.realm, realm) || !found.answers_a_challenge() => {}
                Ok(found) if found.algorithm == Algorithm::Other => {
                    unknown.get_or_insert(found);
                }
                Ok(found) => return Ok(Some(found)),
                Err(CredentialsError::OtherScheme) => {}
                Err(error) => {
                    broken.get_or_insert(error);
                }
            }
        }
        match (unknown, broken) {
            (None, Some(error)) => Err(error),
            (found, _) => Ok(found),
        }
    }

    /// Whether nonce and response are there. IMS phones send both empty in their first REGISTER,
    /// to say who they are (3GPP TS 24.229 5.1.1.2): that is no answer, neither right nor wrong.
    #[inline]
    #[must_use]
    pub const fn answers_a_challenge(&self) -> bool {
        !self.nonce.is_empty() && !self.response.is_empty()
    }
}

/// What has been seen so far.
#[derive(Default)]
struct Found<'a> {
    username: Option<&'a [u8]>,
    realm: Option<&'a [u8]>,
    nonce: Option<&'a [u8]>,
    uri: Option<&'a [u8]>,
    response: Option<&'a [u8]>,
    algorithm: Option<&'a [u8]>,
    qop: Option<&'a [u8]>,
    nc: Option<&'a [u8]>,
    cnonce: Option<&'a [u8]>,
    opaque: Option<&'a [u8]>,
}

impl<'a> Found<'a> {
    /// Reads one `name = value`. Parameters nobody interprets are passed over.
    #[inline]
    fn take_param(&mut self, cursor: &mut Cursor<'a>) -> Result<(), CredentialsError> {
        let name = cursor.take(Class::TOKEN);
        if name.is_empty() || !cursor.eat_spaced(b'=') {
            return Err(CredentialsError::Malformed);
        }
        let value = if cursor.peek() == Some(b'"') {
            cursor.quoted().ok_or(CredentialsError::Malformed)?
        } else {
            let value = cursor.take(Class::TOKEN);
            if value.is_empty() {
                return Err(CredentialsError::Malformed);
            }
            value
        };
        let Some(slot) = self.slot(name) else { return Ok(()) };
        if slot.is_some() {
            return Err(CredentialsError::Duplicate);
        }
        *slot = Some(value);
        Ok(())
    }

    #[inline]
    fn slot(&mut self, name: &[u8]) -> Option<&mut Option<&'a [u8]>> {
        let (slot, found) = match (name.len(), name[0] | 0x20) {
            (8, b'u') => (&mut self.username, eq_in_any_case(name, b"username")),
            (5, b'r') => (&mut self.realm, eq_in_any_case(name, b"realm")),
            (5, b'n') => (&mut self.nonce, eq_in_any_case(name, b"nonce")),
            (3, b'u') => (&mut self.uri, eq_in_any_case(name, b"uri")),
            (8, b'r') => (&mut self.response, eq_in_any_case(name, b"response")),
            (9, b'a') => (&mut self.algorithm, eq_in_any_case(name, b"algorithm")),
            (3, b'q') => (&mut self.qop, eq_in_any_case(name, b"qop")),
            (2, b'n') => (&mut self.nc, eq_in_any_case(name, b"nc")),
            (6, b'c') => (&mut self.cnonce, eq_in_any_case(name, b"cnonce")),
            (6, b'o') => (&mut self.opaque, eq_in_any_case(name, b"opaque")),
            _ => return None,
        };
        found.then_some(slot)
    }

    fn into_credentials(self) -> Result<Credentials<'a>, CredentialsError> {
        let needed = |part: Option<&'a [u8]>| part.ok_or(CredentialsError::Malformed);
        let algorithm = match self.algorithm {
            None => Algorithm::Md5,
            Some(name) if eq_in_any_case(name, b"md5") => Algorithm::Md5,
            Some(name) if eq_in_any_case(name, b"sha-256") => Algorithm::Sha256,
            Some(_) => Algorithm::Other,
        };
        let qop =
            self.qop.map(|name| if eq_in_any_case(name, b"auth") { Qop::Auth } else { Qop::Other });
        let nc = match self.nc {
            Some(text) => Some((text, nonce_count(text).ok_or(CredentialsError::Malformed)?)),
            None => None,
        };
        // RFC 7616 3.4: with qop, nc and cnonce must stand there too.
        if qop.is_some() && (nc.is_none() || self.cnonce.is_none()) {
            return Err(CredentialsError::Malformed);
        }
        Ok(Credentials {
            username: needed(self.username)?,
            realm: needed(self.realm)?,
            nonce: needed(self.nonce)?,
            uri: needed(self.uri)?,
            response: needed(self.response)?,
            algorithm,
            qop,
            nc,
            cnonce: self.cnonce,
        })
    }
}

/// `nc-value = 8LHEX`; upper case is let pass, since the text enters the digest as it stood.
fn nonce_count(text: &[u8]) -> Option<u32> {
    if text.len() != 8 {
        return None;
    }
    text.iter().try_fold(0u32, |n, &d| Some(n << 4 | u32::from(hex_value(d)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WHOLE: &str = "Digest username=\"bob\", realm=\"biloxi.com\", nonce=\"dcd98b\", \
        uri=\"sip:bob@biloxi.com\", qop=auth, nc=00000001, cnonce=\"0a4f\", \
        response=\"6629fae49393a05397450978507c4ef1\", opaque=\"5ccc\"";

    fn parse(value: &str) -> Result<Credentials<'_>, CredentialsError> {
        Credentials::parse(value.as_bytes())
    }

    #[test]
    fn the_example_of_rfc_3261_22_4_is_read() {
        let c = parse(WHOLE).unwrap();
        assert_eq!(c.username, b"bob");
        assert_eq!(c.realm, b"biloxi.com");
        assert_eq!(c.nonce, b"dcd98b");
        assert_eq!(c.uri, b"sip:bob@biloxi.com");
        assert_eq!(c.response, b"6629fae49393a05397450978507c4ef1");
        assert_eq!(c.algorithm, Algorithm::Md5);
        assert_eq!(c.qop, Some(Qop::Auth));
        assert_eq!(c.nc, Some((&b"00000001"[..], 1)));
        assert_eq!(c.cnonce, Some(&b"0a4f"[..]));
    }

    #[test]
    fn white_space_and_folds_may_stand_around_every_sign() {
        let folded = WHOLE.replace(", ", "\r\n\t, \r\n ").replace('=', " = ");
        let folded = folded.replace("Digest ", " dIGEST\r\n  ");
        let c = parse(&folded).unwrap();
        assert_eq!((c.username, c.nc.unwrap().1), (&b"bob"[..], 1));
    }

    #[test]
    fn qop_algorithm_and_nc_may_be_quoted_as_phones_do() {
        let quoted = WHOLE
            .replace("qop=auth", "qop=\"AUTH\",algorithm=\"sha-256\"")
            .replace("nc=00000001", "nc=\"0000000A\"");
        let c = parse(&quoted).unwrap();
        assert_eq!((c.qop, c.algorithm), (Some(Qop::Auth), Algorithm::Sha256));
        assert_eq!(c.nc, Some((&b"0000000A"[..], 10)));
        let other = WHOLE.replace("qop=auth", "qop=auth-int,algorithm=MD5-sess");
        let c = parse(&other).unwrap();
        assert_eq!((c.qop, c.algorithm), (Some(Qop::Other), Algorithm::Other));
    }

    #[test]
    fn an_rfc_2069_answer_has_no_qop() {
        let old = "Digest username=\"a\",realm=\"b\",nonce=\"c\",uri=\"sip:d\",response=\"e\"";
        let c = parse(old).unwrap();
        assert!(c.qop.is_none() && c.nc.is_none() && c.cnonce.is_none());
    }

    #[test]
    fn quoted_strings_keep_their_escapes_and_commas() {
        let c = parse(&WHOLE.replace("\"bob\"", "\"b\\\"o, b\"")).map(|c| c.username.to_vec());
        assert_eq!(c.unwrap(), b"b\\\"o, b");
    }

    #[test]
    fn other_schemes_are_told_apart() {
        let error = |v| parse(v).unwrap_err();
        assert_eq!(error("NoOneKnowsThisScheme opaque-data=here"), CredentialsError::OtherScheme);
        assert_eq!(error("Basic QWxhZGRpbg=="), CredentialsError::OtherScheme);
        assert_eq!(error(""), CredentialsError::Malformed);
        assert_eq!(error("Digest"), CredentialsError::Malformed);
        assert_eq!(error("Digest "), CredentialsError::Malformed);
    }

    #[test]
    fn a_duplicate_parameter_is_refused() {
        for again in ["username=\"x\"", "Realm=\"x\"", "nc=00000002", "opaque=\"\""] {
            let twice = format!("{WHOLE}, {again}");
            assert_eq!(parse(&twice).unwrap_err(), CredentialsError::Duplicate, "{again}");
        }
    }

    #[test]
    fn what_a_digest_answer_needs_must_stand_there() {
        for part in [
            "username=\"bob\", ",
            "realm=\"biloxi.com\", ",
            "nonce=\"dcd98b\", ",
            "uri=\"sip:bob@biloxi.com\", ",
            "nc=00000001, ",
            "cnonce=\"0a4f\", ",
            "response=\"6629fae49393a05397450978507c4ef1\", ",
        ] {
            let without = WHOLE.replace(part, "");
            assert_ne!(without, WHOLE);
            assert_eq!(parse(&without).unwrap_err(), CredentialsError::Malformed, "{part}");
        }
        for (from, to) in [
            ("nc=00000001", "nc=1"),
            ("nc=00000001", "nc=0000000g"),
            ("qop=auth", "qop="),
            ("qop=auth", "qop"),
            ("\"bob\"", "\"bob"),
            (", nc", " nc"),
            (", nc", ",, nc"),
            ("\"5ccc\"", "\"5ccc\","),
            ("\"5ccc\"", "\"5ccc\" x"),
        ] {
            let broken = WHOLE.replace(from, to);
            assert_eq!(parse(&broken).unwrap_err(), CredentialsError::Malformed, "{to}");
        }
    }

    #[test]
    fn the_credentials_of_the_realm_are_picked_among_several_headers() {
        let other = WHOLE.replace("biloxi.com\", nonce", "x.org\", nonce");
        let values = ["Basic YQ==", &other, WHOLE];
        let pick = |realm: &[u8]| {
            Credentials::for_realm(values.iter().map(|v| v.as_bytes()), realm)
                .map(|found| found.map(|c| c.realm.to_vec()))
        };
        assert_eq!(pick(b"biloxi.com"), Ok(Some(b"biloxi.com".to_vec())));
        assert_eq!(pick(b"x.org"), Ok(Some(b"x.org".to_vec())));
        assert_eq!(pick(b"none"), Ok(None));
    }

    #[test]
    fn what_an_ims_phone_sends_first_answers_no_challenge() {
        let first = b"Digest username=\"alice@ims.example\", realm=\"ims.example\", nonce=\"\", \
            uri=\"sip:ims.example\", response=\"\", algorithm=AKAv1-MD5, \
            integrity-protected=\"no\", opaque=\"\"";
        assert!(!Credentials::parse(first).unwrap().answers_a_challenge());
        assert!(Credentials::for_realm([&first[..]], b"ims.example").unwrap().is_none());
        let found = Credentials::for_realm([&first[..], WHOLE.as_bytes()], b"biloxi.com");
        assert_eq!(found.unwrap().unwrap().username, b"bob");
    }

    #[test]
    fn of_several_headers_the_one_that_can_be_checked_counts() {
        let of = |algorithm: &str| format!("{WHOLE}, algorithm={algorithm}");
        let (other, sha, md5) = (of("SHA-512-256"), of("SHA-256"), of("MD5"));
        let chosen = |values: &[&str]| {
            let values = values.iter().map(|value| value.as_bytes());
            Credentials::for_realm(values, b"biloxi.com").map(|c| c.map(|c| c.algorithm))
        };
        assert_eq!(chosen(&[&other, &sha, &md5]), Ok(Some(Algorithm::Sha256)));
        assert_eq!(chosen(&[&md5, &sha]), Ok(Some(Algorithm::Md5)));
        assert_eq!(chosen(&[&other]), Ok(Some(Algorithm::Other)));
        // What cannot be read is somebody else's where there is one that can.
        assert_eq!(chosen(&["Digest ,", &md5]), Ok(Some(Algorithm::Md5)));
        assert_eq!(chosen(&["Basic x", "Digest ,"]), Err(CredentialsError::Malformed));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

        #[test]
        fn what_is_written_is_read_back(
            username in "[ -~]{0,12}", realm in "[a-z.]{1,12}", nc in any::<u32>(),
            cnonce in "[a-zA-Z0-9/+=]{0,16}", order in any::<bool>(),
        ) {
            let escaped = username.replace('\\', "\\\\").replace('"', "\\\"");
            let (a, b) = (format!("username=\"{escaped}\""), format!("realm=\"{realm}\""));
            let (a, b) = if order { (a, b) } else { (b, a) };
            let text = format!("Digest {a},{b},nonce=\"n\",uri=\"sip:h\",response=\"r\",\
                nc={nc:08x},qop=auth,cnonce=\"{cnonce}\"");
            let c = parse(&text).unwrap();
            prop_assert!(unescaped_eq(c.username, username.as_bytes()));
            prop_assert_eq!(c.realm, realm.as_bytes());
            prop_assert_eq!(c.nc.map(|n| n.1), Some(nc));
            prop_assert_eq!(c.cnonce, Some(cnonce.as_bytes()));
        }

        #[test]
        fn any_bytes_are_read_or_refused_without_panic(
            tail in any::<Vec<u8>>(), text in "[a-e=\", \\\\]{0,40}",
        ) {
            let _ = Credentials::parse(&tail);
            let _ = parse(&format!("Digest {text}"));
        }
    }
}
