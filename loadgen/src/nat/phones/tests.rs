//! The phones against a registrar in memory that pings when the test says so, with a clock that
//! the test turns.

use super::super::figures::OfKind;
use super::super::gateways::{Mapping, Ports, Refresh};
use super::*;
use crate::digest::Algorithm;
use crate::scenarios::{Scenario, Weights};

use crate::stub::{Fault, Registrar};

const SERVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 5060);
const TICK: Nanos = SECOND / 10;
const OPTIONS: &[u8] = b"OPTIONS sip:u1@192.0.2.1 SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.2;rport;branch=z9hG4bKping1\r\nFrom: <sip:p@192.0.2.2>;tag=p\r\n\
    To: <sip:u1@192.0.2.1>\r\nCall-ID: ping1\r\nCSeq: 7 OPTIONS\r\nContent-Length: 0\r\n\r\n";

/// Phones, a server that pings each registered address every `period`, and the time.
struct Lab {
    phones: Phones,
    server: Registrar,
    /// Where the last granted REGISTER of each phone came from, and when it is pinged next.
    known: Vec<Option<(Outlet, Nanos)>>,
    period: Option<Nanos>,
    ping: &'static [u8],
    now: Nanos,
}

impl Lab {
    fn new(kind: Kind, period: Option<Nanos>, ping: &'static [u8]) -> Lab {
        let habits = Habits {
            scenario: Scenario::REGISTER,
            weights: Weights::default(),
            expires: 100,
            bindings_max: 1,
            algorithms: vec![Algorithm::Md5],
            retransmit: true,
            timeout: 32 * SECOND,
            loss_percent: 0.0,
            patience: Nanos::MAX,
            key: [1, 2, 3],
        };
        let roster = Roster::numbered("u{n}", "p{n}", "example.com", 1, 5).unwrap();
        let shape =
            Shape { kinds: vec![kind], timeout: 30 * SECOND, phones: 2, ports: 4, remote: SERVER };
        let phones = Phones::new(habits, roster, shape, 30 * SECOND, true);
        let mut lab = Lab {
            known: vec![None; phones.count() as usize],
            phones,
            server: Registrar::new(Fault::None),
            period,
            ping,
            now: SECOND,
        };
        while let Some(id) = lab.phones.begin(lab.now, lab.now) {
            lab.send(id);
        }
        assert!(lab.phones.has_tried());
        lab
    }

    /// A phone's request goes to the server, whose answer is there at once.
    fn send(&mut self, mut id: AgentId) {
        let mut buffer = [0u8; 3072];
        loop {
            let from = self.phones.leave(id, self.now);
            let length = self.phones.fleet.write(id, self.now, &mut buffer).unwrap();
            let mut answers = self.server.answer(&buffer[..length]);
            let answer = answers.remove(0);
            if answer.starts_with(b"SIP/2.0 200 ") {
                let first = self.now + self.period.unwrap_or(0);
                self.known[id as usize] = Some((from, first));
            }
            match self.phones.handle(from, SERVER, &answer, self.now, self.now) {
                Todo::Request(next) => id = next,
                _ => return,
            }
        }
    }

    fn turn(&mut self, span: Nanos) {
        let end = self.now + span;
        let mut buffer = [0u8; 3072];
        while self.now < end {
            self.now += TICK;
            while let Some(id) = self.phones.poll_timers(self.now) {
                self.send(id);
            }
            let Some(period) = self.period else { continue };
            for place in 0..self.known.len() {
                let Some((to, at)) = self.known[place] else { continue };
                if at <= self.now {
                    self.known[place] = Some((to, self.now + period));
                    let todo = self.phones.handle(to, SERVER, self.ping, self.now, self.now);
                    if let Todo::Reply(id) = todo {
                        self.phones.leave(id, self.now);
                        let length = self.phones.fleet.answer_options(self.ping, &mut buffer);
                        self.server.answer(&buffer[..length.unwrap()]);
                    }
                }
            }
        }
        assert_eq!(self.server.complaints, Vec::<String>::new());
    }

    fn close(mut self) -> (OfKind, Phones) {
        self.phones.close(self.now);
        (self.phones.ledger.figures.sum(), self.phones)
    }
}

fn kind(refresh: Refresh, ports: Ports) -> Kind {
    Kind { mapping: Mapping::Symmetric, refresh, ports }
}

#[test]
fn keepalives_within_the_timeout_hold_every_pinhole_through_refreshes() {
    for ports in [Ports::Keep, Ports::Change] {
        let mut lab = Lab::new(kind(Refresh::Both, ports), Some(29 * SECOND), b"HELLO");
        lab.turn(400 * SECOND);
        let (sum, phones) = lab.close();
        assert_eq!((sum.phones, sum.closings, sum.unreachable, sum.late), (5, 0, 0, 0));
        assert!(sum.pings >= 5 * 8, "{}", sum.pings);
        let figures = &phones.ledger.figures;
        // A hundred seconds are granted, and refreshed after 80 to 90 of them.
        assert!((4 * 5..=5 * 5).contains(&figures.refreshes), "{}", figures.refreshes);
        assert_eq!((figures.unregistered, figures.to_nobody), (0, 0));
        assert_eq!((phones.fleet.recorder.tally.lost, phones.fleet.recorder.tally.wrong), (0, 0));
    }
}

#[test]
fn without_keepalives_every_phone_is_lost_until_it_refreshes() {
    let mut lab = Lab::new(kind(Refresh::Both, Ports::Change), None, b"");
    lab.turn(200 * SECOND);
    let (sum, phones) = lab.close();
    assert_eq!((sum.closed_phones, sum.unreachable, sum.pings), (5, 5, 0));
    assert!(sum.closings > 5, "each refresh opens what closes again: {}", sum.closings);
    // From 30 s after the REGISTER to the refresh at 80 to 90 % of 100 s.
    let longest = sum.unreachable_max;
    assert!((50 * SECOND..=61 * SECOND).contains(&longest), "{longest}");
    assert!(sum.late >= 5);
    assert_eq!(phones.ledger.figures.unregistered, 0);
}

#[test]
fn a_period_longer_than_the_timeout_loses_phones_and_pings_meet_closed_pinholes() {
    let mut lab = Lab::new(kind(Refresh::Both, Ports::Keep), Some(35 * SECOND), b"HELLO");
    lab.turn(60 * SECOND);
    let (sum, _) = lab.close();
    assert_eq!((sum.unreachable, sum.met_closed, sum.closings), (5, 5, 5));
    assert_eq!(sum.late, 5);
    assert!(sum.late_max >= 5 * SECOND && sum.late_max < 6 * SECOND, "{}", sum.late_max);
}

#[test]
fn a_nat_that_only_outbound_packets_refresh_is_held_by_options_and_by_nothing_else() {
    for (ping, held) in [(&b"HELLO"[..], false), (OPTIONS, true)] {
        let mut lab = Lab::new(kind(Refresh::Outbound, Ports::Change), Some(20 * SECOND), ping);
        lab.turn(70 * SECOND);
        let server = lab.server.options_answered;
        let (sum, phones) = lab.close();
        assert_eq!((sum.unreachable == 0, server > 0), (held, held), "{sum:?}");
        assert_eq!(phones.fleet.recorder.tally.options_answered, server);
    }
}

#[test]
fn a_phone_whose_registration_fails_tries_again() {
    let mut lab = Lab::new(kind(Refresh::Both, Ports::Keep), Some(20 * SECOND), b"HELLO");
    lab.server.fault = Fault::Status(500);
    lab.turn(110 * SECOND);
    assert!(lab.phones.fleet.recorder.tally.wrong >= 5);
    lab.server.fault = Fault::None;
    lab.turn(40 * SECOND);
    let (_, phones) = lab.close();
    assert_eq!(phones.ledger.figures.unregistered, 0);
}

#[test]
fn what_comes_for_nobody_or_from_a_stranger_is_counted_and_keeps_nothing_open() {
    let mut lab = Lab::new(kind(Refresh::Both, Ports::Keep), None, b"");
    let to = lab.known[0].unwrap().0;
    let stranger = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 6060);
    lab.turn(20 * SECOND);
    assert_eq!(lab.phones.handle(to, stranger, b"HELLO", lab.now, lab.now), Todo::Nothing);
    let nobody = Outlet { gateway: 99, port: 0 };
    assert_eq!(lab.phones.handle(nobody, SERVER, OPTIONS, lab.now, lab.now), Todo::Nothing);
    lab.turn(15 * SECOND);
    let (sum, phones) = lab.close();
    assert_eq!((sum.filtered, phones.ledger.figures.to_nobody, sum.unreachable), (1, 1, 5));
}
