//! Subscription-State (RFC 6665 8.2.3): how a NOTIFY says what became of the subscription.

use crate::sip::cursor::Cursor;
use crate::sip::header::address::take_params;
use crate::sip::scan::{Class, decimal_saturating};
use crate::sip::writer::{Full, Writer};

/// State of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// `active`
    Active,
    /// `pending`: not authorized yet.
    Pending,
    /// `terminated`
    Terminated,
}

/// Why a subscription ended (RFC 6665 4.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Subscribe again at once.
    Deactivated,
    /// Subscribe again later.
    Probation,
    /// Do not: the authorization was taken back.
    Rejected,
    /// It was not refreshed in time.
    Timeout,
    /// Authorization could not be had in time.
    Giveup,
    /// What was watched is not there any more.
    NoResource,
    /// It can never change again (RFC 6665 4.1.3).
    Invariant,
}

impl Reason {
    const NAMES: [(Reason, &'static str); 7] = [
        (Reason::Deactivated, "deactivated"),
        (Reason::Probation, "probation"),
        (Reason::Rejected, "rejected"),
        (Reason::Timeout, "timeout"),
        (Reason::Giveup, "giveup"),
        (Reason::NoResource, "noresource"),
        (Reason::Invariant, "invariant"),
    ];

    /// Its name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        Reason::NAMES[self as usize].1
    }
}

/// Value of a Subscription-State header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscriptionState {
    /// The state.
    pub state: State,
    /// Seconds left.
    pub expires_s: Option<u32>,
    /// Why it ended; one that is not known is none (RFC 6665 4.1.3).
    pub reason: Option<Reason>,
    /// Seconds to wait before subscribing again.
    pub retry_after_s: Option<u32>,
}

impl SubscriptionState {
    /// Active for so many seconds more.
    #[must_use]
    pub const fn active(expires_s: u32) -> Self {
        let expires_s = Some(expires_s);
        SubscriptionState { state: State::Active, expires_s, reason: None, retry_after_s: None }
    }

    /// Over.
    #[must_use]
    pub const fn terminated(reason: Reason) -> Self {
        let reason = Some(reason);
        SubscriptionState { state: State::Terminated, expires_s: None, reason, retry_after_s: None }
    }

    /// Reads a value; `None` if it is malformed or of a state that is not known.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<SubscriptionState> {
        let mut cursor = Cursor::new(value);
        cursor.lws();
        let state = match cursor.take(Class::TOKEN) {
            s if s.eq_ignore_ascii_case(b"active") => State::Active,
            s if s.eq_ignore_ascii_case(b"pending") => State::Pending,
            s if s.eq_ignore_ascii_case(b"terminated") => State::Terminated,
            _ => return None,
        };
        let mut read =
            SubscriptionState { state, expires_s: None, reason: None, retry_after_s: None };
        take_params(&mut cursor, |param| {
            if param.is(b"expires") {
                read.expires_s = Some(decimal_saturating(param.value?)?);
            } else if param.is(b"retry-after") {
                read.retry_after_s = Some(decimal_saturating(param.value?)?);
            } else if param.is(b"reason") {
                let name = param.value?;
                let known = |(_, n): &&(Reason, &str)| name.eq_ignore_ascii_case(n.as_bytes());
                read.reason = Reason::NAMES.iter().find(known).map(|&(reason, _)| reason);
            }
            Some(())
        })?;
        cursor.is_end().then_some(read)
    }

    /// Writes it.
    ///
    /// # Errors
    /// [`Full`].
    pub fn write_to(&self, out: &mut Writer<'_>) -> Result<(), Full> {
        out.put(match self.state {
            State::Active => b"active",
            State::Pending => b"pending",
            State::Terminated => b"terminated",
        })?;
        if let Some(reason) = self.reason {
            out.put(b";reason=")?;
            out.put(reason.name().as_bytes())?;
        }
        for (name, seconds) in
            [(&b";expires="[..], self.expires_s), (b";retry-after=", self.retry_after_s)]
        {
            if let Some(seconds) = seconds {
                out.put(name)?;
                out.number(seconds.into())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(state: &SubscriptionState) -> String {
        let mut buffer = [0; 128];
        let mut out = Writer::new(&mut buffer);
        state.write_to(&mut out).unwrap();
        String::from_utf8(out.written().to_vec()).unwrap()
    }

    #[test]
    fn what_is_written_is_read_back() {
        assert_eq!(written(&SubscriptionState::active(600)), "active;expires=600");
        let over = SubscriptionState::terminated(Reason::NoResource);
        assert_eq!(written(&over), "terminated;reason=noresource");
        for state in [State::Active, State::Pending, State::Terminated] {
            for (reason, name) in Reason::NAMES {
                assert_eq!(reason.name(), name);
                let (reason, expires_s) = (Some(reason), Some(7));
                let all = SubscriptionState { state, expires_s, reason, retry_after_s: Some(9) };
                assert_eq!(SubscriptionState::parse(written(&all).as_bytes()), Some(all));
            }
        }
    }

    #[test]
    fn unknown_parameters_and_reasons_are_passed_over_and_unknown_states_are_not() {
        let of = |value: &'static str| SubscriptionState::parse(value.as_bytes());
        let read = of("Terminated ; Reason=moon;x=\"y\"").unwrap();
        assert_eq!((read.state, read.reason), (State::Terminated, None));
        for bad in ["", "gone", "active;expires=x", "active;expires", "active, pending"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
