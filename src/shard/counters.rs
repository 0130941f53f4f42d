//! What one shard counts: every answer by its status, every silence by its reason, every event of
//! the registrar. Plain numbers; the shell publishes them.

use std::ops::AddAssign;

use crate::shard::pinholes::PinholesByKind;
use crate::shard::refused::RefuseReason;
use crate::shard::round_trips::RoundTrips;

/// Why a datagram was not answered. The metric uses the same words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// Nothing but white space or a few bytes: a keepalive.
    Keepalive,
    /// STUN that is no binding request: an indication, a response, another method, or broken.
    Stun,
    /// A datagram from port 0: no answer could be sent there.
    SourcePortZero,
    /// A datagram that says it comes from where this very process listens.
    OwnSource,
    /// Not SIP, or so broken that no response could find its way back.
    Unparseable,
    /// A response where a request belongs.
    StrayResponse,
    /// ACK is never answered (RFC 3261 17.2.1).
    Ack,
    /// The top Via names no place a response could go to.
    NoReturnPath,
    /// The answer would not fit [`crate::limits::RESPONSE_BYTES_MAX`].
    AnswerTooLong,
    /// Its network is not served.
    NetworkBlocked,
    /// Its source is blocked for what it did, or by an operator.
    SourceBlocked,
    /// Its source is restrained for what was done in its name.
    SourceRestrained,
    /// Its source is over its limit, and it proved nothing.
    SourceRate,
    /// The unproven sources of its /24 or /64 are over theirs, and it proved nothing.
    PrefixRate,
    /// Its network is over the limit of its own, and it proved nothing.
    NetworkRate,
    /// Strangers took more time than they may, and it was one's.
    OverloadStranger,
    /// Too much came, and it carried a fresh nonce of its source.
    OverloadProven,
    /// Too much came, and it was of somebody known.
    OverloadKnown,
    /// Too much came, and it was a newcomer.
    OverloadNewcomer,
    /// A scanner's signature, or a walk through numbers.
    Scanner,
    /// A REGISTER of an endpoint that has never answered an OPTIONS.
    NeverAnswers,
    /// Handed over by a shard that obeys other settings: a new configuration is on its way.
    Unowned,
    /// Of nobody who is known, and those who are not hear nothing.
    Unauthorized,
    /// The account is suspended for this source, and those who are not known hear nothing.
    Suspended,
}

impl DropReason {
    /// All of them, in the order of their numbers.
    pub const ALL: [DropReason; 24] = [
        DropReason::Keepalive,
        DropReason::Stun,
        DropReason::SourcePortZero,
        DropReason::OwnSource,
        DropReason::Unparseable,
        DropReason::StrayResponse,
        DropReason::Ack,
        DropReason::NoReturnPath,
        DropReason::AnswerTooLong,
        DropReason::NetworkBlocked,
        DropReason::SourceBlocked,
        DropReason::SourceRestrained,
        DropReason::SourceRate,
        DropReason::PrefixRate,
        DropReason::NetworkRate,
        DropReason::OverloadStranger,
        DropReason::OverloadProven,
        DropReason::OverloadKnown,
        DropReason::OverloadNewcomer,
        DropReason::Scanner,
        DropReason::NeverAnswers,
        DropReason::Unowned,
        DropReason::Unauthorized,
        DropReason::Suspended,
    ];

    /// Its name in metrics and in the final counters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            DropReason::Keepalive => "keepalive",
            DropReason::Stun => "stun",
            DropReason::SourcePortZero => "source_port_zero",
            DropReason::OwnSource => "own_source",
            DropReason::Unparseable => "unparseable",
            DropReason::StrayResponse => "stray_response",
            DropReason::Ack => "ack",
            DropReason::NoReturnPath => "no_return_path",
            DropReason::AnswerTooLong => "answer_too_long",
            DropReason::NetworkBlocked => "network_blocked",
            DropReason::SourceBlocked => "source_blocked",
            DropReason::SourceRestrained => "source_restrained",
            DropReason::SourceRate => "source_rate",
            DropReason::PrefixRate => "prefix_rate",
            DropReason::NetworkRate => "network_rate",
            DropReason::OverloadStranger => "overload_stranger",
            DropReason::OverloadProven => "overload_proven",
            DropReason::OverloadKnown => "overload_known",
            DropReason::OverloadNewcomer => "overload_newcomer",
            DropReason::Scanner => "scanner",
            DropReason::NeverAnswers => "never_answers",
            DropReason::Unowned => "unowned",
            DropReason::Unauthorized => "unauthorized",
            DropReason::Suspended => "suspended",
        }
    }
}

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident),* $(,)?) => {
        /// The counters of one shard since its start.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Counters {
            $($(#[doc = $doc])+ pub $name: u64,)*
            /// Keepalives by [`Kind`](crate::shard::pinholes::Kind).
            pub keepalives: PinholesByKind,
            /// Of the probes.
            pub round_trips: RoundTrips,
            /// Silences by [`DropReason`].
            pub dropped: [u64; DropReason::ALL.len()],
            /// Refusals by [`RefuseReason`].
            pub refused: [u64; RefuseReason::ALL.len()],
            /// Answers by status: `answered[status - 200]` for 200 to 699.
            pub answered: StatusCounts,
        }

        impl Default for Counters {
            fn default() -> Self {
                Counters {
                    $($name: 0,)*
                    keepalives: PinholesByKind::default(),
                    round_trips: RoundTrips::default(),
                    dropped: [0; DropReason::ALL.len()],
                    refused: [0; RefuseReason::ALL.len()],
                    answered: StatusCounts::default(),
                }
            }
        }

        impl Counters {
            /// Name and value of every counter, silences, refusals and statuses left out.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }

            /// The same, each with its meaning between.
            pub fn described(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($name), concat!($($doc),+), self.$name),)*].into_iter()
            }
        }

        impl AddAssign<&Counters> for Counters {
            fn add_assign(&mut self, other: &Counters) {
                $(self.$name += other.$name;)*
                self.keepalives += &other.keepalives;
                self.round_trips += &other.round_trips;
                for (mine, theirs) in self.dropped.iter_mut().zip(other.dropped) {
                    *mine += theirs;
                }
                for (mine, theirs) in self.refused.iter_mut().zip(other.refused) {
                    *mine += theirs;
                }
                self.answered += &other.answered;
            }
        }
    };
}

counters! {
    /// Requests whose head was found good, by the shard that answered them.
    requests,
    /// Datagrams handed to the shard that owns their AOR.
    handoffs_out,
    /// Datagrams another shard received for this one.
    handoffs_in,
    /// Challenges sent to requests that brought no credentials for the realm.
    challenged,
    /// Requests whose digest was right on a fresh nonce.
    authenticated,
    /// Requests let in without a digest, by their network or their client certificate.
    admitted,
    /// Nonce old, foreign, or its count used: challenged with `stale=true`.
    stale,
    /// Digest wrong on a nonce bound to that very source.
    bad_password,
    /// Credentials for a nonce of another key or source, or a made-up one: challenged with
    /// `stale=true`, the password not looked at.
    foreign_nonce,
    /// Credentials for an AOR that has no account.
    unknown_account,
    /// Suspensions that began, of accounts.
    suspensions,
    /// Suspensions that began, of names without an account.
    suspensions_unknown,
    /// Suspensions that ended.
    suspensions_ended,
    /// Requests for users answered with where they are.
    redirected,
    /// Registrations through a NAT.
    behind_nat,
    /// Those with a Contact at 0.0.0.0 or ::, which names no address.
    contact_unspecified,
    /// Those whose pinhole is not kept open, since their source has not proved to be theirs.
    keepalive_unproven,
    /// STUN binding requests answered with the address they came from.
    stun_answered,
    /// STUN binding requests refused because they want understood what is not.
    stun_refused,
    /// Intervals (SS_SIP_NAT_KEEP_ALIVE_SEND_INTERVAL) in which a shard sent more keepalives than
    /// its share of the ceiling, so that no phone be missed.
    keepalive_intervals_above,
    /// Retransmissions answered again without a change.
    retransmissions,
    /// Bindings added.
    registered,
    /// Bindings refreshed.
    refreshed,
    /// Bindings that moved to a new contact of the same device.
    retargeted,
    /// Bindings removed by their owner.
    unregistered,
    /// Bindings pushed out by another device of the account.
    kicked,
    /// Registrations whose User-Agent found no room to be kept for all that have it, and stands in
    /// the binding.
    agents_not_shared,
    /// Pairs of devices found to keep kicking each other, once in each window.
    flapping,
    /// Bindings whose time ran out.
    expired,
    /// Bindings removed by an operator.
    removed,
    /// Bindings removed because their phone did not answer.
    removed_unreachable,
    /// Requests that were refused because their CSeq was not newer.
    stale_cseq,
    /// Requests refused for asking less than the shortest registration.
    interval_too_brief,
    /// Requests refused because the account holds as many bindings as it may.
    too_many_bindings,
    /// Requests refused because all accounts together hold as many bindings as they may.
    registrar_full,
    /// Subscriptions to registrations begun, prolonged or ended by their subscribers.
    subscribed,
    /// SUBSCRIBEs refused for what they ask, or because there are too many.
    subscriptions_refused,
    /// Answers to NOTIFYs.
    notify_answers,
    /// Probes begun: OPTIONS that ask whether a phone is there.
    probes_sent,
    /// Probes sent once more since no answer had come.
    probes_repeated,
    /// Probes begun out of turn, after an ICMP error or a silence.
    probes_urgent,
    /// Probes that were wanted out of turn when too many waited already.
    probes_urgent_shed,
    /// Turns in which nobody was asked who is heard from anyway.
    probes_spared,
    /// Turns of phones whose address has not proved itself, or whose connection is a proxy's.
    probes_impossible,
    /// Answers that showed a phone to be there.
    probes_answered,
    /// Answers to probes that do not count.
    probes_refused,
    /// Probes without an answer in time.
    probes_unanswered,
    /// Further answers to one probe.
    probe_answers_repeated,
    /// Answers to probes long past.
    probe_answers_old,
    /// Answers to probes that were never sent: forged.
    probe_answers_forged,
    /// Answers to probes of bindings that have gone.
    probe_answers_gone,
    /// Answers to probes from another address than was asked.
    probe_answers_elsewhere,
    /// Bindings found unreachable.
    unreachable,
    /// Bindings that had been unreachable and were heard from.
    reachable_again,
    /// Reports of ICMP that a datagram did not arrive.
    icmp_unreachable,
    /// Keepalives of phones that have agreed to send them, as told once in some seconds.
    keepalives_heard,
    /// Phones that have agreed to be heard and were silent for too long.
    silent,
    /// Endpoints whose REGISTERs are ignored for a while since they never answered.
    endpoints_ignored,
    /// Endpoints that would be ignored if there were room to remember them.
    endpoints_ignored_shed,
}

/// Answers counted by status code, 200 to 699.
#[derive(Clone, PartialEq, Eq)]
pub struct StatusCounts(Box<[u64; 500]>);

impl Default for StatusCounts {
    fn default() -> Self {
        StatusCounts(Box::new([0; 500]))
    }
}

impl std::fmt::Debug for StatusCounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl StatusCounts {
    /// Counts one answer.
    ///
    /// # Panics
    /// If `status` is not a final SIP status: no other is ever written.
    pub fn count(&mut self, status: u16) {
        self.0[usize::from(status) - 200] += 1;
    }

    /// How often `status` was answered.
    #[must_use]
    pub fn of(&self, status: u16) -> u64 {
        self.0[usize::from(status) - 200]
    }

    /// Statuses that were answered at all, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u16, u64)> {
        (200..).zip(*self.0).filter(|&(_, count)| count > 0)
    }

    /// All answers.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

impl AddAssign<&StatusCounts> for StatusCounts {
    fn add_assign(&mut self, other: &StatusCounts) {
        for (mine, theirs) in self.0.iter_mut().zip(*other.0) {
            *mine += theirs;
        }
    }
}

impl Counters {
    /// Counts one silence.
    pub fn drop(&mut self, reason: DropReason) {
        self.dropped[reason as usize] += 1;
    }

    /// Counts one refusal.
    pub fn refuse(&mut self, reason: RefuseReason) {
        self.refused[reason as usize] += 1;
    }

    /// Refusals for `reason`.
    #[must_use]
    pub fn refused(&self, reason: RefuseReason) -> u64 {
        self.refused[reason as usize]
    }

    /// Silences for `reason`.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drop_reasons_index_their_own_counter() {
        let mut counters = Counters::default();
        for (number, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, number);
            counters.drop(reason);
            assert_eq!(counters.dropped(reason), 1, "{}", reason.name());
        }
    }

    #[test]
    fn sums_add_every_field() {
        let mut one = Counters { requests: 1, kicked: 2, ..Counters::default() };
        one.answered.count(200);
        one.answered.count(699);
        one.drop(DropReason::Ack);
        one.refuse(RefuseReason::Contact);
        let mut sum = one.clone();
        sum += &one;
        assert_eq!(sum.requests, 2);
        assert_eq!(sum.kicked, 4);
        assert_eq!(sum.answered.iter().collect::<Vec<_>>(), [(200, 2), (699, 2)]);
        assert_eq!(sum.answered.total(), 4);
        assert_eq!(sum.dropped(DropReason::Ack), 2);
        assert_eq!(sum.refused(RefuseReason::Contact), 2);
        assert_eq!(sum.named().map(|(_, value)| value).sum::<u64>(), 6);
    }
}
