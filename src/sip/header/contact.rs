//! Contact (RFC 3261 20.10) of a REGISTER: `*` or a list of addresses with their parameters.

use arrayvec::ArrayVec;

use crate::limits::CONTACTS_MAX;
use crate::sip::cursor::Cursor;
use crate::sip::header::address::{Address, Param};
use crate::sip::scan::{decimal, decimal_saturating};
use crate::sip::uri::Uri;

/// What a malformed `expires` parameter counts as, seconds (RFC 3261 20.10).
pub const EXPIRES_MALFORMED_S: u32 = 3600;

/// q-value in thousandths, 0-1000 (RFC 3261 25.1 `qvalue`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QValue(pub u16);

impl QValue {
    /// Reads `"0" [ "." 0*3DIGIT ]` or `"1" [ "." 0*3"0" ]`.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<QValue> {
        let (whole, fraction) = match text {
            [whole] => (whole, &[][..]),
            [whole, b'.', fraction @ ..] if fraction.len() <= 3 => (whole, fraction),
            _ => return None,
        };
        let mut thousandths = match whole {
            b'0' => 0,
            b'1' => 1000,
            _ => return None,
        };
        for (digit, weight) in fraction.iter().zip([100, 10, 1]) {
            if !digit.is_ascii_digit() {
                return None;
            }
            thousandths += u16::from(digit - b'0') * weight;
        }
        (thousandths <= 1000).then_some(QValue(thousandths))
    }
}

/// One address of a Contact header.
#[derive(Clone, Copy, Debug)]
pub struct Contact<'a> {
    /// Where the phone wants to be reached.
    pub uri: Uri<'a>,
    /// Preference among several, if given.
    pub q: Option<QValue>,
    /// `expires` parameter, seconds. A malformed one counts as 3600 (RFC 3261 20.10: values that
    /// cannot be understood), one over 2^32-1 as 2^32-1.
    pub expires: Option<u32>,
    /// `+sip.instance`, without quotes, with its angle brackets (RFC 5626 4.1).
    pub instance: Option<&'a [u8]>,
    /// `reg-id` (RFC 5626 4.2), 1 to 2^31-1.
    pub reg_id: Option<u32>,
    /// All header parameters as they stood, without the leading `;`.
    pub params: &'a [u8],
}

/// Why the Contact headers of a request cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContactError {
    /// One of them breaks the grammar, or gives an interpreted parameter twice.
    Malformed,
    /// More than [`CONTACTS_MAX`] addresses.
    TooMany,
    /// `*` beside an address, or twice: a Contact is `*` or a list (RFC 3261 20.10).
    WildcardMixed,
}

/// All Contact values of one request. Its owner declares it on the stack and has it filled, so
/// that nothing of its size is moved about.
#[derive(Clone, Debug, Default)]
pub struct Contacts<'a> {
    list: ArrayVec<Contact<'a>, CONTACTS_MAX>,
    wildcard: bool,
}

impl<'a> Contacts<'a> {
    /// Holds nothing yet.
    #[inline]
    #[must_use]
    pub const fn new() -> Self {
        Contacts { list: ArrayVec::new_const(), wildcard: false }
    }

    /// Reads the values of all Contact headers of a request, in order, in place of what was held
    /// before.
    ///
    /// # Errors
    /// The first fault; what is held then is of no use.
    #[inline]
    pub fn parse(
        &mut self,
        values: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(), ContactError> {
        self.list.clear();
        self.wildcard = false;
        for value in values {
            self.parse_value(value)?;
        }
        if self.wildcard && !self.list.is_empty() {
            return Err(ContactError::WildcardMixed);
        }
        Ok(())
    }

    fn parse_value(&mut self, value: &'a [u8]) -> Result<(), ContactError> {
        let mut cursor = Cursor::new(value);
        loop {
            if take_wildcard(&mut cursor) {
                if self.wildcard {
                    return Err(ContactError::WildcardMixed);
                }
                self.wildcard = true;
            } else {
                let contact = Contact::take(&mut cursor).ok_or(ContactError::Malformed)?;
                self.list.try_push(contact).map_err(|_| ContactError::TooMany)?;
            }
            if cursor.is_end() {
                return Ok(());
            }
            // `take` stops nowhere else.
            if !cursor.eat_spaced(b',') {
                return Err(ContactError::Malformed);
            }
        }
    }

    /// Whether the request said `Contact: *`; there are no addresses then.
    #[inline]
    #[must_use]
    pub const fn is_wildcard(&self) -> bool {
        self.wildcard
    }

    /// Whether there was no Contact at all: the request only asks for the bindings.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty() && !self.wildcard
    }

    /// The addresses, in the order they stood.
    #[inline]
    #[must_use]
    pub fn as_slice(&self) -> &[Contact<'a>] {
        &self.list
    }
}

impl<'a> Contact<'a> {
    /// Reads one address that fills `value` and is not `*`.
    #[must_use]
    pub fn parse(value: &'a [u8]) -> Option<Contact<'a>> {
        let mut cursor = Cursor::new(value);
        let contact = Contact::take(&mut cursor)?;
        cursor.is_end().then_some(contact)
    }

    fn take(cursor: &mut Cursor<'a>) -> Option<Contact<'a>> {
        let (mut q, mut expires, mut instance, mut reg_id) = (None, None, None, None);
        let address = Address::take(cursor, |param: Param<'a>| {
            let value = param.value;
            // Lengths first: most parameters are none of these.
            match param.name.len() {
                1 if param.is(b"q") => once(&mut q, QValue::parse(value?)?),
                7 if param.is(b"expires") => {
                    let seconds = value.and_then(decimal_saturating);
                    once(&mut expires, seconds.unwrap_or(EXPIRES_MALFORMED_S))
                }
                // A URN between angle brackets: nothing that is not printable ASCII.
                13 if param.is(b"+sip.instance") => {
                    let urn = value.filter(|v| !v.is_empty() && v.iter().all(u8::is_ascii_graphic));
                    once(&mut instance, urn?)
                }
                6 if param.is(b"reg-id") => {
                    let id = decimal(value?, i32::MAX.unsigned_abs()).filter(|&id| id > 0)?;
                    once(&mut reg_id, id)
                }
                _ => Some(()),
            }
        })?;
        Some(Contact { uri: address.uri, q, expires, instance, reg_id, params: address.params })
    }
}

/// A parameter may stand once (RFC 3261 7.3.1).
fn once<T>(slot: &mut Option<T>, value: T) -> Option<()> {
    match slot.replace(value) {
        None => Some(()),
        Some(_) => None,
    }
}

/// Consumes a `*` that stands alone; one that begins a display name is left.
fn take_wildcard(cursor: &mut Cursor<'_>) -> bool {
    let mut ahead = *cursor;
    let found = ahead.eat_spaced(b'*') && (ahead.is_end() || ahead.peek() == Some(b','));
    if found {
        *cursor = ahead;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(values: &[&'static str]) -> Result<Contacts<'static>, ContactError> {
        let mut contacts = Contacts::new();
        contacts.parse(values.iter().map(|v| v.as_bytes())).map(|()| contacts)
    }

    #[test]
    fn a_list_spans_commas_and_headers() {
        let c = read(&["\"A, B\" <sip:a@h>;q=0.5 , sip:b@h;expires=60", "<sip:c@h;x=y>"]).unwrap();
        let uris: Vec<_> = c.as_slice().iter().map(|c| c.uri.text).collect();
        assert_eq!(uris, [&b"sip:a@h"[..], b"sip:b@h", b"sip:c@h;x=y"]);
        assert_eq!(c.as_slice()[0].q, Some(QValue(500)));
        assert_eq!(c.as_slice()[1].expires, Some(60));
        assert!(!c.is_wildcard());
    }

    #[test]
    fn outbound_parameters_are_read_rfc_5626_4() {
        let c = Contact::parse(
            b"<sip:u@192.0.2.2;transport=udp>;reg-id=1;+SIP.instance=\"<urn:uuid:0-1>\";audio",
        )
        .unwrap();
        assert_eq!(c.reg_id, Some(1));
        assert_eq!(c.instance, Some(&b"<urn:uuid:0-1>"[..]));
        assert_eq!(c.params, &b"reg-id=1;+SIP.instance=\"<urn:uuid:0-1>\";audio"[..]);
        for bad in ["reg-id=0", "reg-id=2147483648", "reg-id", "reg-id=x", "+sip.instance"] {
            assert!(Contact::parse(format!("<sip:h>;{bad}").as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn an_expires_that_cannot_be_understood_is_an_hour_rfc_3261_20_10() {
        let expires = |v: &str| Contact::parse(format!("<sip:h>;{v}").as_bytes()).unwrap().expires;
        assert_eq!(expires("expires=0"), Some(0));
        assert_eq!(expires("expires=x"), Some(3600));
        assert_eq!(expires("expires"), Some(3600));
        assert_eq!(expires("expires=-1"), Some(3600));
        assert_eq!(expires("expires=280297596632815"), Some(u32::MAX));
        assert_eq!(expires("expires=\"30\""), Some(30));
        assert_eq!(expires("x"), None);
    }

    #[test]
    fn a_parameter_given_twice_is_refused_rfc_3261_7_3_1() {
        for twice in ["q=1;q=1", "expires=1;Expires=2", "reg-id=1;reg-id=1"] {
            assert!(Contact::parse(format!("<sip:h>;{twice}").as_bytes()).is_none(), "{twice}");
        }
    }

    #[test]
    fn the_wildcard_stands_alone() {
        assert!(read(&["*"]).unwrap().is_wildcard());
        assert!(read(&[" \r\n * "]).unwrap().is_wildcard());
        for mixed in [&["*", "<sip:h>"][..], &["<sip:h>, *"], &["*,*"], &["*", "*"]] {
            assert_eq!(read(mixed).unwrap_err(), ContactError::WildcardMixed, "{mixed:?}");
        }
        assert_eq!(read(&["*;expires=0"]).unwrap_err(), ContactError::Malformed);
        assert!(!read(&["*72 <sip:h>"]).unwrap().is_wildcard());
    }

    #[test]
    fn no_contact_header_is_empty_and_an_empty_one_malformed() {
        assert!(read(&[]).unwrap().is_empty());
        for bad in ["", " ", ",", "<sip:h>,", ",<sip:h>", "<sip:h>,,<sip:h>", "<sip:h> <sip:h>"] {
            let bad: &'static str = bad;
            assert_eq!(read(&[bad]).unwrap_err(), ContactError::Malformed, "{bad:?}");
        }
    }

    #[test]
    fn one_address_too_many_has_its_own_error() {
        let most = vec!["<sip:h>"; CONTACTS_MAX];
        assert_eq!(read(&most).unwrap().as_slice().len(), CONTACTS_MAX);
        let over = vec!["<sip:h>"; CONTACTS_MAX + 1];
        assert_eq!(read(&over).unwrap_err(), ContactError::TooMany);
    }

    #[test]
    fn q_values_are_thousandths_of_one() {
        for (text, q) in [("0", 0), ("1", 1000), ("0.5", 500), ("0.", 0), ("1.000", 1000)] {
            assert_eq!(QValue::parse(text.as_bytes()), Some(QValue(q)), "{text}");
        }
        for text in ["", "2", "1.1", "0.1234", "00", ".5", "-1", "0,5", "0.x", "1.001"] {
            assert_eq!(QValue::parse(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

        #[test]
        fn what_is_written_is_read_back(
            user in "[a-z0-9]{1,8}",
            q in proptest::option::of(0u16..=1000),
            expires in proptest::option::of(any::<u32>()),
            reg_id in proptest::option::of(1u32..=0x7fff_ffff),
            gap in "[ \t]{0,2}",
        ) {
            let mut text = format!("<sip:{user}@192.0.2.1>");
            if let Some(q) = q {
                text += &format!("{gap};{gap}q={gap}{}.{:03}", q / 1000, q % 1000);
            }
            if let Some(e) = expires {
                text += &format!(";expires{gap}={e}");
            }
            if let Some(r) = reg_id {
                text += &format!(";reg-id={r}{gap}");
            }
            let c = Contact::parse(text.as_bytes()).unwrap();
            prop_assert_eq!(c.q, q.map(QValue));
            prop_assert_eq!(c.expires, expires);
            prop_assert_eq!(c.reg_id, reg_id);
            prop_assert_eq!(c.uri.user, Some(user.as_bytes()));
        }

        #[test]
        fn any_bytes_are_read_or_refused_without_panic(
            value in any::<Vec<u8>>(), text in "[a<>\"\\\\;,:= *@sip]{0,40}",
        ) {
            let mut contacts = Contacts::new();
            let _ = contacts.parse([&value[..], text.as_bytes()]);
        }
    }
}
