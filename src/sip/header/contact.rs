//! Contact (RFC 3261 20.10) of a REGISTER: `*` or a list of addresses with their parameters.

use crate::sip::uri::Uri;

/// q-value in thousandths, 0-1000 (RFC 3261 25.1 `qvalue`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QValue(pub u16);

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
