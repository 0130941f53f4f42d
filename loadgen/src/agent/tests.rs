//! The phones against a registrar in memory, with a clock that the test turns.

use super::*;
use std::collections::BTreeMap;

use crate::stub::{Fault, Registrar, header};
use crate::wire::unasked::Form;

mod storms;

const MILLISECOND: Nanos = 1_000_000;

struct Lab {
    fleet: Fleet,
    server: Registrar,
    now: Nanos,
    /// Datagrams on their way to the phones, by arrival.
    arriving: BTreeMap<(Nanos, u64), Vec<u8>>,
    count: u64,
    /// One way, there; the answer is there at the same moment.
    delay: Nanos,
    sent: Vec<(Nanos, String)>,
}

impl Lab {
    fn new(scenario: Scenario, server: Registrar, adapt: impl FnOnce(&mut Habits)) -> Self {
        let mut habits = Habits {
            scenario,
            weights: Weights::default(),
            expires: 300,
            bindings_max: 1,
            algorithms: vec![Algorithm::Md5, Algorithm::Sha256],
            retransmit: true,
            timeout: 32 * SECOND,
            loss_percent: 0.0,
            patience: 120 * SECOND,
            key: [1, 2, 3],
        };
        adapt(&mut habits);
        let roster = Roster::numbered("u{n}", "p{n}", "example.com", 1, 3).unwrap();
        let lines = [Line::new(([127, 0, 0, 1], 4000).into())];
        let mut lab = Lab {
            fleet: Fleet::new(habits, roster, lines.into()),
            server,
            now: SECOND,
            arriving: BTreeMap::new(),
            count: 0,
            delay: MILLISECOND,
            sent: Vec::new(),
        };
        if lab.fleet.is_warming() {
            while lab.begin() {}
            lab.turn(40 * SECOND);
            while lab.begin() {
                lab.turn(40 * SECOND);
            }
            assert_eq!((lab.fleet.outstanding(), lab.fleet.has_idle()), (0, false));
            lab.fleet.begin_measuring();
            lab.sent.clear();
        }
        lab
    }

    fn of(scenario: Scenario, fault: Fault) -> Self {
        Lab::new(scenario, Registrar::new(fault), |_| {})
    }

    fn begin(&mut self) -> bool {
        let now = self.now;
        let begun = self.fleet.begin(0, now, now);
        begun.is_some_and(|id| {
            self.send(id);
            true
        })
    }

    fn send(&mut self, id: AgentId) {
        let mut buffer = [0u8; 3072];
        let Some(length) = self.fleet.write(id, self.now, &mut buffer) else { return };
        let request = &buffer[..length];
        if self.fleet.loses_request(id, self.now) {
            return;
        }
        self.sent.push((self.now, String::from_utf8(request.to_vec()).unwrap()));
        for answer in self.server.answer(request) {
            self.count += 1;
            self.arriving.insert((self.now + self.delay, self.count), answer);
        }
    }

    /// Lets `span` pass, a millisecond at a time.
    fn turn(&mut self, span: Nanos) {
        let end = self.now + span;
        while self.now < end {
            self.now += MILLISECOND;
            while let Some(entry) = self.arriving.first_entry()
                && entry.key().0 <= self.now
            {
                let datagram = entry.remove();
                if self.fleet.handle_unasked(&datagram).is_none()
                    && let Some(id) = self.fleet.handle_datagram(&datagram, self.now)
                {
                    self.send(id);
                }
            }
            while let Some(id) = self.fleet.poll_timers(self.now) {
                self.send(id);
            }
            if self.arriving.is_empty() && self.fleet.outstanding() == 0 {
                break;
            }
        }
    }

    fn rounds(&mut self, rounds: usize) {
        for _ in 0..rounds {
            self.begin();
            self.turn(40 * SECOND);
        }
        assert_eq!(self.server.complaints, Vec::<String>::new());
    }

    fn tally(&self) -> &crate::record::Tally {
        &self.fleet.recorder.tally
    }

    fn statuses(&self) -> Vec<(u16, u64)> {
        self.tally().statuses().collect()
    }

    fn reasons(&self) -> Vec<(Wrong, u64)> {
        self.tally().reasons().collect()
    }

    fn is_clean(&self) -> bool {
        let tally = self.tally();
        (tally.lost, tally.wrong, tally.stray, tally.duplicates) == (0, 0, 0, 0)
    }
}

#[test]
fn register_is_a_challenge_and_its_answer() {
    let mut lab = Lab::of(Scenario::REGISTER, Fault::None);
    lab.rounds(6);
    assert!(lab.is_clean(), "{:?}", lab.reasons());
    assert_eq!(lab.statuses(), [(200, 6), (401, 6)]);
    assert_eq!((lab.tally().sent, lab.tally().requests, lab.tally().registrations), (12, 12, 6));
    assert_eq!(lab.server.call_ids.len(), 3);
    let whole = lab.fleet.recorder.latencies.registration.max();
    assert!(whole.abs_diff(2 * MILLISECOND) < MILLISECOND / 100, "{whole}");
}

#[test]
fn rfc3261_22_2_the_answer_keeps_call_id_and_tag_and_raises_cseq() {
    let mut lab = Lab::of(Scenario::REGISTER, Fault::None);
    lab.rounds(1);
    let [(_, first), (_, second)] = &lab.sent[..] else { panic!("two requests") };
    for name in ["Call-ID", "From", "Contact", "User-Agent"] {
        assert_eq!(header(first, name), header(second, name));
    }
    assert_eq!(header(first, "CSeq"), Some("1 REGISTER"));
    assert_eq!(header(second, "CSeq"), Some("2 REGISTER"));
    assert_ne!(header(first, "Via"), header(second, "Via"));
    assert_eq!(header(first, "Authorization"), None);
}

#[test]
fn refresh_counts_the_nonce_on_without_a_challenge() {
    let mut lab = Lab::of(Scenario::REFRESH, Fault::None);
    lab.rounds(9);
    assert!(lab.is_clean(), "{:?}", lab.reasons());
    assert_eq!(lab.statuses(), [(200, 9)]);
    assert_eq!(lab.tally().registrations, 9);
    assert!(lab.sent.last().unwrap().1.contains("nc=00000004"), "{}", lab.sent.last().unwrap().1);
}

#[test]
fn a_stale_nonce_is_answered_with_the_new_one() {
    let mut lab = Lab::of(Scenario::REFRESH, Fault::None);
    lab.server.fault = Fault::Stale;
    lab.rounds(6);
    assert!(lab.is_clean(), "{:?}", lab.reasons());
    assert_eq!(lab.statuses(), [(200, 6), (401, 3)]);
    assert_eq!(lab.tally().registrations, 6);
}

#[test]
fn a_refused_refresh_is_wrong_and_the_next_one_starts_anew() {
    let mut lab = Lab::of(Scenario::REFRESH, Fault::None);
    lab.server.fault = Fault::Refuses;
    lab.rounds(3);
    assert_eq!(lab.reasons(), [(Wrong::Refused, 3)]);
    lab.server.fault = Fault::None;
    lab.rounds(3);
    assert_eq!(lab.reasons(), [(Wrong::Refused, 3)]);
    assert_eq!(lab.statuses(), [(200, 3), (401, 6)]);
}

#[test]
fn flap_replaces_the_other_device_each_time() {
    let mut lab = Lab::of(Scenario::FLAP, Fault::None);
    lab.rounds(12);
    assert!(lab.is_clean(), "{:?}", lab.reasons());
    assert_eq!(lab.statuses(), [(200, 12)]);
    let of_one: Vec<_> = lab.sent.iter().filter(|sent| sent.1.contains("<sip:u1@")).collect();
    assert_eq!(of_one.len(), 4);
    for pair in of_one.windows(2) {
        for name in ["Contact", "Call-ID"] {
            assert_ne!(header(&pair[0].1, name), header(&pair[1].1, name));
        }
        assert!(pair[0].1.contains("+sip.instance=\"<urn:uuid:"));
    }
    assert_eq!(header(&of_one[0].1, "Call-ID"), header(&of_one[2].1, "Call-ID"));
}

#[test]
fn flap_sees_a_binding_that_was_not_replaced_unless_more_are_allowed() {
    for (bindings_max, wrong) in [(1, true), (2, false)] {
        let mut server = Registrar::new(Fault::None);
        server.contacts_max = 2;
        let mut lab = Lab::new(Scenario::FLAP, server, |habits| habits.bindings_max = bindings_max);
        lab.rounds(6);
        assert_eq!(lab.tally().wrong > 0, wrong, "limit {bindings_max}");
        let foreign = |(why, _): &(Wrong, u64)| *why == Wrong::ContactForeign;
        assert!(lab.reasons().iter().all(foreign));
    }
}

#[test]
fn a_challenge_is_the_end_of_a_request_that_never_answers_one() {
    let mut lab = Lab::of(Scenario::CHALLENGE, Fault::None);
    lab.rounds(6);
    let tally = &lab.fleet.recorder.tally;
    assert_eq!((tally.sent, tally.requests, tally.registrations, tally.wrong), (6, 6, 0, 0));
    assert!(lab.sent.iter().all(|(_, request)| !request.contains("Authorization")));
    let mut lab = Lab::of(Scenario::CHALLENGE, Fault::NeverChallenges);
    lab.rounds(3);
    assert_eq!(lab.reasons(), [(Wrong::Unchallenged, 3)]);
    let mut lab = Lab::of(Scenario::CHALLENGE, Fault::NoChallenge);
    lab.rounds(3);
    assert_eq!(lab.reasons(), [(Wrong::Challenge, 3)]);
}

#[test]
fn wrong_passwords_are_refused_and_a_200_is_wrong() {
    let mut lab = Lab::of(Scenario::WRONG, Fault::None);
    lab.rounds(3);
    assert!(lab.is_clean(), "{:?}", lab.reasons());
    assert_eq!(lab.statuses(), [(401, 6)]);
    assert_eq!(lab.tally().registrations, 0);

    let mut lab = Lab::of(Scenario::WRONG, Fault::AcceptsAnything);
    lab.rounds(3);
    assert_eq!(lab.reasons(), [(Wrong::Accepted, 3)]);

    let mut lab = Lab::of(Scenario::WRONG, Fault::Status(403));
    lab.rounds(3);
    assert!(lab.is_clean());
    assert_eq!(lab.statuses(), [(401, 3), (403, 3)]);
}

#[test]
fn mixed_does_everything_and_all_of_it_is_right() {
    let mut lab = Lab::new(Scenario::MIXED, Registrar::new(Fault::None), |habits| {
        habits.weights =
            "refresh=2,register=1,unregister=1,fetch=1,wrong=2,options=1".parse().unwrap();
    });
    lab.rounds(300);
    assert!(lab.is_clean(), "{:?} {:?}", lab.reasons(), lab.fleet.recorder.samples);
    let sent = |text: &str| lab.sent.iter().filter(|sent| sent.1.contains(text)).count();
    assert!(sent("OPTIONS sip:example.com SIP/2.0\r\n") > 5);
    assert!(sent("expires=0\r\n") + sent("Expires: 0\r\n") > 5);
    let fetch = |text: &String| text.starts_with("REGISTER") && header(text, "Contact").is_none();
    assert!(lab.sent.iter().filter(|sent| fetch(&sent.1)).count() > 5);
    assert!(lab.statuses().iter().any(|(status, _)| *status == 401));
}

#[test]
fn mixed_sees_a_binding_that_was_not_removed() {
    let mut lab = Lab::new(Scenario::MIXED, Registrar::new(Fault::None), |habits| {
        habits.weights = "unregister=1".parse().unwrap();
    });
    lab.server.fault = Fault::KeepsRemoved;
    lab.rounds(3);
    assert_eq!(lab.reasons(), [(Wrong::ContactStays, 3)]);
}

#[test]
fn a_fetch_sees_that_the_binding_is_gone() {
    let mut lab = Lab::new(Scenario::MIXED, Registrar::new(Fault::None), |habits| {
        habits.weights = "fetch=1".parse().unwrap();
    });
    lab.rounds(3);
    assert!(lab.is_clean());
    lab.server.fault = Fault::NoContact;
    lab.rounds(3);
    assert_eq!(lab.reasons(), [(Wrong::ContactMissing, 3)]);
}

#[test]
fn every_misbehaviour_is_seen() {
    for (fault, why) in [
        (Fault::WrongContact, Wrong::ContactMissing),
        (Fault::NoContact, Wrong::ContactMissing),
        (Fault::LongerExpiry, Wrong::ExpiresTooLong),
        (Fault::ZeroExpiry, Wrong::ExpiresZero),
        (Fault::NoExpiry, Wrong::ExpiresMissing),
        (Fault::NoToTag, Wrong::ToTag),
        (Fault::WrongFromTag, Wrong::FromTag),
        (Fault::WrongCallId, Wrong::CallId),
        (Fault::WrongCSeq, Wrong::CSeq),
        (Fault::Status(403), Wrong::Status),
        (Fault::Status(500), Wrong::Status),
        (Fault::NeverChallenges, Wrong::Unchallenged),
        (Fault::Refuses, Wrong::Refused),
        (Fault::NoChallenge, Wrong::Challenge),
        (Fault::UnknownAlgorithm, Wrong::Challenge),
        (Fault::HugeNonce, Wrong::Challenge),
    ] {
        let mut lab = Lab::of(Scenario::REGISTER, fault);
        lab.rounds(3);
        assert_eq!(lab.reasons(), [(why, 3)], "{fault:?}");
        assert_eq!((lab.tally().wrong, lab.tally().registrations), (3, 0), "{fault:?}");
        let samples = &lab.fleet.recorder.samples;
        assert_eq!(samples.len(), 3);
        assert!(samples[0].answer.starts_with("SIP/2.0 "), "{fault:?}");
        assert_eq!(samples[0].why, why);
    }
}

#[test]
fn a_foreign_contact_is_allowed_outside_flap() {
    let mut lab = Lab::of(Scenario::REGISTER, Fault::ForeignContact);
    lab.rounds(3);
    assert!(lab.is_clean());
}

#[test]
fn rfc3261_17_1_2_2_timer_e_doubles_to_t2_until_the_request_is_lost() {
    let mut lab = Lab::of(Scenario::REGISTER, Fault::Silence);
    lab.rounds(1);
    let since: Vec<_> =
        lab.sent.iter().map(|sent| (sent.0 - lab.sent[0].0) / MILLISECOND).collect();
    let expected = [0, 500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500];
    assert_eq!(since.len(), expected.len(), "{since:?}");
    for (got, expected) in since.iter().zip(expected) {
        assert!(got.abs_diff(expected) <= 40, "{since:?}");
    }
    assert!(lab.sent.iter().all(|sent| sent.1 == lab.sent[0].1));
    let tally = lab.tally();
    assert_eq!((tally.sent, tally.retransmissions, tally.lost), (1, 10, 1));
    assert_eq!((tally.requests, lab.now / SECOND), (0, 33));
}

#[test]
fn without_retransmission_a_request_is_sent_once() {
    let silent = Registrar::new(Fault::Silence);
    let mut lab = Lab::new(Scenario::REGISTER, silent, |habits| {
        habits.retransmit = false;
        habits.timeout = 2 * SECOND;
    });
    lab.rounds(1);
    assert_eq!((lab.sent.len(), lab.tally().lost), (1, 1));
}

#[test]
fn a_late_answer_is_lost_and_late_and_the_next_action_goes_on() {
    let server = Registrar::new(Fault::None);
    let mut lab = Lab::new(Scenario::REGISTER, server, |habits| {
        habits.retransmit = false;
        habits.timeout = SECOND;
    });
    lab.delay = 1200 * MILLISECOND;
    lab.rounds(1);
    assert_eq!((lab.tally().lost, lab.tally().late, lab.tally().requests), (1, 1, 0));
    assert!(!lab.fleet.has_abandoned());
    lab.delay = MILLISECOND;
    lab.rounds(3);
    assert_eq!((lab.tally().lost, lab.tally().late, lab.tally().registrations), (1, 1, 3));
}

#[test]
fn lost_datagrams_are_made_good_by_retransmission() {
    let mut lab = Lab::of(Scenario::REGISTER, Fault::LosesMost);
    lab.rounds(6);
    assert!(lab.is_clean(), "{:?}", lab.reasons());
    assert_eq!((lab.tally().registrations, lab.tally().sent), (6, 12));
    assert_eq!(lab.tally().retransmissions, 24);
    assert!(lab.fleet.recorder.latencies.corrected.max() > SECOND);
}

#[test]
fn rfc3261_17_1_2_2_a_provisional_answer_slows_timer_e() {
    let mut lab = Lab::of(Scenario::REGISTER, Fault::Trying);
    lab.rounds(2);
    assert!(lab.is_clean());
    assert_eq!((lab.tally().provisional, lab.tally().registrations), (4, 2));
    let id = lab.fleet.begin(0, lab.now, lab.now).unwrap();
    let mut buffer = [0u8; 3072];
    let length = lab.fleet.write(id, lab.now, &mut buffer).unwrap();
    let trying = lab.server.answer(&buffer[..length]).remove(0);
    assert_eq!(lab.fleet.handle_datagram(&trying, lab.now), None);
    assert_eq!(lab.fleet.poll_timers(lab.now + 3 * SECOND), None);
    assert_eq!(lab.fleet.poll_timers(lab.now + 5 * SECOND), Some(id));
}

#[test]
fn what_was_not_asked_for_is_stray_and_what_comes_twice_a_duplicate() {
    let mut lab = Lab::of(Scenario::REGISTER, Fault::Duplicates);
    lab.rounds(2);
    assert_eq!((lab.tally().duplicates, lab.tally().registrations), (4, 2));
    assert_eq!((lab.tally().stray, lab.tally().wrong), (0, 0));

    let mut lab = Lab::of(Scenario::REGISTER, Fault::WrongBranch);
    lab.rounds(1);
    assert!(lab.tally().stray >= 10);
    assert_eq!((lab.tally().lost, lab.tally().wrong), (1, 0));
}

#[test]
fn what_is_neither_answer_nor_request_is_a_keepalive_and_answers_nothing() {
    let mut lab = Lab::of(Scenario::REGISTER, Fault::Garbage);
    lab.rounds(1);
    let raw = lab.tally().keepalives().find(|(form, _)| *form == Form::Raw);
    assert!(raw.is_some_and(|(_, count)| count >= 20), "{raw:?}");
    assert_eq!((lab.tally().stray, lab.tally().lost, lab.tally().wrong), (0, 1, 0));
}

#[test]
fn an_answer_that_cannot_be_read_is_wrong() {
    let mut lab = Lab::of(Scenario::REGISTER, Fault::Unterminated);
    lab.rounds(1);
    assert_eq!(lab.reasons(), [(Wrong::Malformed, 11)]);
    assert_eq!(lab.tally().lost, 1);
}

#[test]
fn rfc8760_the_first_supported_challenge_is_answered() {
    for (offered, allowed, expected) in [
        (vec!["SHA-256", "MD5"], vec![Algorithm::Md5, Algorithm::Sha256], "algorithm=SHA-256"),
        (vec!["MD5", "SHA-256"], vec![Algorithm::Md5, Algorithm::Sha256], "algorithm=MD5"),
        (vec!["SHA-256", "MD5"], vec![Algorithm::Md5], "algorithm=MD5"),
        (vec!["MD5", "SHA-256"], vec![Algorithm::Sha256], "algorithm=SHA-256"),
    ] {
        let mut server = Registrar::new(Fault::None);
        server.algorithms = offered;
        let mut lab = Lab::new(Scenario::REGISTER, server, |habits| habits.algorithms = allowed);
        lab.rounds(3);
        assert!(lab.is_clean(), "{:?}", lab.reasons());
        assert!(lab.sent[1].1.contains(expected), "{}", lab.sent[1].1);
    }
}

#[test]
fn another_realm_no_qop_and_a_proxy_challenge_are_answered() {
    let mut server = Registrar::new(Fault::None);
    (server.realm, server.qop, server.proxy) = ("elsewhere", false, true);
    server.algorithms = vec!["SHA-256"];
    let mut lab = Lab::new(Scenario::REFRESH, server, |_| {});
    lab.rounds(6);
    assert!(lab.is_clean(), "{:?}", lab.reasons());
    assert_eq!(lab.statuses(), [(200, 6)]);
    assert!(!lab.sent[0].1.contains("qop"));
}

#[test]
fn latency_counts_from_the_intended_time_and_beside_it_from_the_send() {
    let mut lab = Lab::of(Scenario::REFRESH, Fault::None);
    let intended = lab.now - 700 * MILLISECOND;
    let id = lab.fleet.begin(0, intended, lab.now).unwrap();
    lab.send(id);
    lab.turn(SECOND);
    let near = |value: Nanos, to: Nanos| value.abs_diff(to) <= to / 500;
    let latencies = &lab.fleet.recorder.latencies;
    assert!(near(latencies.corrected.max(), 701 * MILLISECOND));
    assert!(near(latencies.uncorrected.max(), MILLISECOND));
    assert!(near(latencies.registration.max(), 701 * MILLISECOND));
}

#[test]
fn an_answer_after_the_timeout_is_late_even_before_the_timer_has_had_its_turn() {
    for (delay, counted) in [(1000, (0, 0, 1)), (1001, (1, 1, 0)), (1002, (1, 1, 0))] {
        let mut lab = Lab::new(Scenario::REGISTER, Registrar::new(Fault::None), |habits| {
            habits.retransmit = false;
            // Between two ticks of the wheel.
            habits.timeout = 1001 * MILLISECOND;
        });
        lab.delay = delay * MILLISECOND;
        lab.begin();
        lab.turn(1002 * MILLISECOND);
        let tally = lab.tally();
        assert_eq!((tally.lost, tally.late, tally.requests), counted, "{delay} ms");
    }
}

#[test]
fn a_provisional_answer_after_the_timeout_is_not_the_late_one() {
    let mut lab = Lab::new(Scenario::REGISTER, Registrar::new(Fault::None), |habits| {
        habits.timeout = SECOND;
    });
    lab.delay = 3 * SECOND;
    lab.begin();
    lab.turn(2 * SECOND);
    let (_, request) = lab.sent[0].clone();
    let trying = request.replacen("REGISTER sip:example.com SIP/2.0", "SIP/2.0 100 Trying", 1);
    assert_ne!(trying, request);
    assert_eq!(lab.fleet.handle_datagram(trying.as_bytes(), lab.now), None);
    assert_eq!((lab.tally().lost, lab.tally().late, lab.tally().provisional), (1, 0, 1));
    lab.turn(2 * SECOND);
    assert_eq!((lab.tally().lost, lab.tally().late), (1, 1));
}

#[test]
fn a_send_past_its_timeout_is_lost_even_if_it_is_answered_at_once() {
    let mut lab = Lab::of(Scenario::REGISTER, Fault::None);
    let now = lab.now + 60 * SECOND;
    let id = lab.fleet.begin(0, lab.now, now).unwrap();
    lab.now = now;
    lab.delay = 10 * MILLISECOND;
    lab.send(id);
    lab.turn(SECOND);
    assert_eq!((lab.tally().lost, lab.tally().late, lab.tally().requests), (1, 1, 0));
}

#[test]
fn phones_differ_in_what_sets_phones_apart() {
    let mut server = Registrar::new(Fault::None);
    let roster = Roster::numbered("u{n}", "p{n}", "example.com", 1, 200).unwrap();
    let lines: Vec<_> = (0..8).map(|n| Line::new(([127, 0, 0, 1], 4000 + n).into())).collect();
    let habits = Lab::of(Scenario::REGISTER, Fault::None).fleet.habits.clone();
    let mut fleet = Fleet::new(habits, roster, lines);
    let mut contacts = std::collections::HashSet::new();
    let mut buffer = [0u8; 3072];
    for socket in 0..8 {
        while let Some(id) = fleet.begin(socket, SECOND, SECOND) {
            let length = fleet.write(id, SECOND, &mut buffer).unwrap();
            let text = std::str::from_utf8(&buffer[..length]).unwrap();
            contacts.insert(header(text, "Contact").unwrap().to_owned());
            let challenge = server.answer(&buffer[..length]).remove(0);
            let id = fleet.handle_datagram(&challenge, SECOND).unwrap();
            let length = fleet.write(id, SECOND, &mut buffer).unwrap();
            server.answer(&buffer[..length]);
        }
    }
    assert_eq!((contacts.len(), server.call_ids.len()), (200, 200));
    assert_eq!(server.user_agents.len(), 12);
    assert_eq!(server.complaints, Vec::<String>::new());
}

#[test]
fn hostile_answers_never_panic_and_every_request_ends_once() {
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    for scenario in Scenario::all() {
        let mut lab = Lab::of(scenario, Fault::None);
        let failed_before = lab.tally().lost;
        let mut buffer = [0u8; 3072];
        for _ in 0..2000 {
            let Some(id) = lab.fleet.begin(0, lab.now, lab.now) else { break };
            let mut next = Some(id);
            while let Some(id) = next.take() {
                let Some(length) = lab.fleet.write(id, lab.now, &mut buffer) else { break };
                for mut answer in lab.server.answer(&buffer[..length]) {
                    for _ in 0..random(4) {
                        let at = random(answer.len());
                        match random(4) {
                            0 => answer[at] = random(256) as u8,
                            1 => answer[at] = b"\r\n\"<>;:,= @"[random(11)],
                            2 => answer.truncate(at.max(1)),
                            _ => drop(answer.splice(at..at, *b"\r\nContact: ,;")),
                        }
                    }
                    next = lab.fleet.handle_datagram(&answer, lab.now).or(next);
                }
            }
            // Whoever got nothing it could use waits in vain.
            lab.now += 33 * SECOND;
            while lab.fleet.poll_timers(lab.now).is_some() {}
            let tally = lab.tally();
            let ended = tally.requests + tally.lost - failed_before;
            assert_eq!(tally.sent, ended + u64::from(lab.fleet.outstanding()), "{scenario:?}");
        }
        let tally = lab.tally();
        if !scenario.storm {
            assert!(tally.wrong > 50 && tally.lost > 50, "{scenario:?} {tally:?}");
        }
    }
}
