//! Everybody at once: who is sent away comes back, and what is lost explains what is repeated.

use super::*;

#[test]
fn storm_is_once_for_everybody_and_obeys_retry_after() {
    let mut lab = Lab::of(Scenario::STORM, Fault::BusyOnce(503));
    while lab.begin() {}
    assert_eq!(lab.fleet.outstanding(), 3);
    lab.turn(40 * SECOND);
    assert!(lab.is_clean(), "{:?}", lab.reasons());
    assert_eq!(lab.statuses(), [(200, 3), (401, 3), (503, 3)]);
    assert_eq!((lab.tally().deferred, lab.tally().given_up), (3, 0));
    assert!(lab.now > 3 * SECOND && !lab.fleet.has_idle());
    let whole = lab.fleet.recorder.latencies.registration.max();
    assert!(whole > 2 * SECOND, "{whole}");
}

#[test]
fn a_storm_that_is_refused_or_unanswered_is_given_up() {
    for (fault, wrong, lost) in [(Fault::Silence, 0, 3), (Fault::Status(503), 3, 0)] {
        let mut lab = Lab::of(Scenario::STORM, fault);
        while lab.begin() {}
        lab.turn(200 * SECOND);
        let tally = lab.tally();
        assert_eq!((tally.wrong, tally.lost, tally.given_up), (wrong, lost, 3), "{fault:?}");
        assert_eq!(lab.fleet.outstanding(), 0);
    }
}

#[test]
fn loss_explains_each_retransmission_of_a_storm_and_everybody_gets_in() {
    let (mut dropped, mut retransmissions) = (0, 0);
    for seed in 0..200 {
        let mut lab = Lab::new(Scenario::STORM, Registrar::new(Fault::None), |habits| {
            (habits.loss_percent, habits.key) = (20.0, [1, 2, seed]);
        });
        while lab.begin() {}
        lab.turn(100 * SECOND);
        let tally = lab.tally();
        assert_eq!((tally.lost, tally.wrong, tally.given_up), (0, 0, 0), "seed {seed}");
        assert_eq!(tally.retransmissions, tally.retransmissions_explained, "seed {seed}");
        // Each loss costs one retransmission here, since answers are there before timer E runs.
        assert_eq!(tally.retransmissions, tally.requests_dropped + tally.answers_dropped);
        assert_eq!(lab.fleet.registered_count(lab.now), 3);
        let took = &lab.fleet.recorder.latencies.answer;
        assert!(took.max() < 2 * MILLISECOND, "the server is not charged for the loss");
        dropped += tally.requests_dropped + tally.answers_dropped;
        retransmissions += tally.retransmissions;
    }
    assert!(dropped > 200 && retransmissions == dropped, "{dropped}");
}

#[test]
fn a_server_that_does_not_answer_explains_no_retransmission() {
    let mut lab = Lab::of(Scenario::STORM, Fault::Silence);
    while lab.begin() {}
    lab.turn(40 * SECOND);
    let tally = lab.tally();
    assert!(tally.retransmissions > 0 && tally.retransmissions_explained == 0);
    assert_eq!(lab.fleet.registered_count(lab.now), 0);
}
