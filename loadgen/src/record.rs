//! What one thread has counted and measured: counters, three latency histograms for the current
//! interval, samples of wrong answers. Adding threads and intervals up is the report's business.

use crate::agent::check::Wrong;
use crate::plan::Nanos;
use crate::wire::unasked::Form;
use hdrhistogram::Histogram;

/// Longest latency a histogram holds; longer ones are recorded as this.
pub const LATENCY_MAX: Nanos = 600 * crate::plan::SECOND;
/// Below this latencies are not told apart.
const LATENCY_MIN: Nanos = 100;
/// Wrong answers each thread keeps to be shown.
pub const SAMPLES_MAX: usize = 4;
/// Bytes kept of a wrong answer.
const SAMPLE_BYTES_MAX: usize = 1200;
/// Status codes are below this.
const STATUS_END: usize = 700;

/// Counters of one thread, or of all of them added up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// Requests sent, retransmissions not counted.
    pub sent: u64,
    /// Requests that got their final answer in time.
    pub requests: u64,
    /// Registrations and refreshes that a 200 granted.
    pub registrations: u64,
    /// Requests without a final answer in time.
    pub lost: u64,
    /// Lost ones that were answered after all.
    pub late: u64,
    /// Answers that are not what the scenario expects.
    pub wrong: u64,
    /// Retransmissions by timer E.
    pub retransmissions: u64,
    /// Those that loss by choice explains.
    pub retransmissions_explained: u64,
    /// Requests lost by choice.
    pub requests_dropped: u64,
    /// Answers lost by choice.
    pub answers_dropped: u64,
    /// Phones that were registered at the end.
    pub registered: u64,
    /// Provisional answers.
    pub provisional: u64,
    /// Second and further final answers to one request.
    pub duplicates: u64,
    /// Datagrams that answer nothing we sent and are no keepalive: foreign branches, requests.
    pub stray: u64,
    /// OPTIONS of the server that got their 200.
    pub options_answered: u64,
    /// Times a 503 with Retry-After sent a phone away for a while.
    pub deferred: u64,
    /// Phones that ended a storm without being registered.
    pub given_up: u64,
    /// Datagrams the kernel did not take.
    pub send_errors: u64,
    /// Times the kernel reported the target unreachable (ICMP).
    pub unreachable: u64,
    /// When the last registration was granted.
    pub last_registration: Nanos,
    /// When the last final answer came in time.
    pub last_answer: Nanos,
    statuses: Box<[u64]>,
    reasons: [u64; Wrong::COUNT],
    keepalives: [u64; Form::ALL.len()],
}

impl Default for Tally {
    fn default() -> Self {
        Tally {
            sent: 0,
            requests: 0,
            registrations: 0,
            lost: 0,
            late: 0,
            wrong: 0,
            retransmissions: 0,
            retransmissions_explained: 0,
            requests_dropped: 0,
            answers_dropped: 0,
            registered: 0,
            provisional: 0,
            duplicates: 0,
            stray: 0,
            options_answered: 0,
            deferred: 0,
            given_up: 0,
            send_errors: 0,
            unreachable: 0,
            last_registration: 0,
            last_answer: 0,
            statuses: vec![0; STATUS_END].into_boxed_slice(),
            reasons: [0; Wrong::COUNT],
            keepalives: [0; Form::ALL.len()],
        }
    }
}

impl Tally {
    /// Adds another thread's counters.
    pub fn add(&mut self, other: &Tally) {
        self.sent += other.sent;
        self.requests += other.requests;
        self.registrations += other.registrations;
        self.lost += other.lost;
        self.late += other.late;
        self.wrong += other.wrong;
        self.retransmissions += other.retransmissions;
        self.retransmissions_explained += other.retransmissions_explained;
        self.requests_dropped += other.requests_dropped;
        self.answers_dropped += other.answers_dropped;
        self.registered += other.registered;
        self.provisional += other.provisional;
        self.duplicates += other.duplicates;
        self.stray += other.stray;
        self.options_answered += other.options_answered;
        self.deferred += other.deferred;
        self.given_up += other.given_up;
        self.send_errors += other.send_errors;
        self.unreachable += other.unreachable;
        self.last_registration = self.last_registration.max(other.last_registration);
        self.last_answer = self.last_answer.max(other.last_answer);
        for (mine, theirs) in self.statuses.iter_mut().zip(&other.statuses) {
            *mine += theirs;
        }
        for (mine, theirs) in self.reasons.iter_mut().zip(&other.reasons) {
            *mine += theirs;
        }
        for (mine, theirs) in self.keepalives.iter_mut().zip(other.keepalives) {
            *mine += theirs;
        }
    }

    /// A keepalive of the server came.
    #[inline]
    pub fn keepalive(&mut self, form: Form) {
        self.keepalives[form as usize] += 1;
    }

    /// The server's keepalives by form, none left out.
    pub fn keepalives(&self) -> impl Iterator<Item = (Form, u64)> + '_ {
        Form::ALL.into_iter().zip(self.keepalives)
    }

    /// Final answers by status code, those that came.
    pub fn statuses(&self) -> impl Iterator<Item = (u16, u64)> + '_ {
        let counted = self.statuses.iter().enumerate().filter(|(_, count)| **count > 0);
        counted.map(|(status, count)| (status as u16, *count))
    }

    /// Wrong answers by reason, those that occurred.
    pub fn reasons(&self) -> impl Iterator<Item = (Wrong, u64)> + '_ {
        let all = Wrong::ALL.into_iter().zip(self.reasons);
        all.filter(|(_, count)| *count > 0)
    }
}

/// A wrong answer, kept to be shown.
#[derive(Debug, Clone)]
pub struct Sample {
    /// What is wrong.
    pub why: Wrong,
    /// Whose registration it was.
    pub user: String,
    /// The request it answers, by method, CSeq and kind.
    pub asked: String,
    /// The answer, cut where it is long; bytes that are no text are replaced.
    pub answer: String,
}

/// Latencies of one interval, nanoseconds.
#[derive(Debug, Clone)]
pub struct Latencies {
    /// From the intended send time to the final answer, each request.
    pub corrected: Histogram<u64>,
    /// From the actual (first) send to the final answer, each request.
    pub uncorrected: Histogram<u64>,
    /// From the intended send of the first request to the 200, each registration.
    pub registration: Histogram<u64>,
    /// From the first datagram of a request that was not lost by choice to its answer, whether that
    /// was lost or not: what the server took for it.
    pub answer: Histogram<u64>,
}

impl Default for Latencies {
    fn default() -> Self {
        let empty = || {
            Histogram::new_with_bounds(LATENCY_MIN, LATENCY_MAX, 3)
                .expect("the bounds are constant and valid")
        };
        Latencies {
            corrected: empty(),
            uncorrected: empty(),
            registration: empty(),
            answer: empty(),
        }
    }
}

impl Latencies {
    /// Adds another thread's or interval's latencies.
    pub fn add(&mut self, other: &Latencies) {
        let merged = "all histograms have the same bounds";
        self.corrected.add(&other.corrected).expect(merged);
        self.uncorrected.add(&other.uncorrected).expect(merged);
        self.registration.add(&other.registration).expect(merged);
        self.answer.add(&other.answer).expect(merged);
    }

    /// Forgets everything, keeping the memory.
    pub fn reset(&mut self) {
        self.corrected.reset();
        self.uncorrected.reset();
        self.registration.reset();
        self.answer.reset();
    }
}

/// The record of one thread.
#[derive(Debug, Default)]
pub struct Recorder {
    /// Counters since measuring began.
    pub tally: Tally,
    /// Latencies since they were last taken.
    pub latencies: Latencies,
    /// First wrong answers.
    pub samples: Vec<Sample>,
}

impl Recorder {
    /// Forgets the warm-up's figures. What was lost or wrong in it stays, for it is a failure
    /// of the run all the same, and so does what tells why.
    pub fn begin_measuring(&mut self) {
        let before = std::mem::take(&mut self.tally);
        self.tally.lost = before.lost;
        self.tally.wrong = before.wrong;
        self.tally.late = before.late;
        self.tally.send_errors = before.send_errors;
        self.tally.unreachable = before.unreachable;
        self.tally.reasons = before.reasons;
        self.latencies.reset();
    }

    /// A final answer in time.
    #[inline]
    pub fn answered(&mut self, status: u16, intended: Nanos, sent: Nanos, now: Nanos) {
        self.tally.requests += 1;
        self.tally.statuses[usize::from(status).min(STATUS_END - 1)] += 1;
        self.tally.last_answer = now;
        self.latencies.corrected.saturating_record(now.saturating_sub(intended));
        self.latencies.uncorrected.saturating_record(now.saturating_sub(sent));
    }

    /// A registration was granted.
    #[inline]
    pub fn registered(&mut self, intended: Nanos, now: Nanos) {
        self.tally.registrations += 1;
        self.tally.last_registration = now;
        self.latencies.registration.saturating_record(now.saturating_sub(intended));
    }

    /// Something wrong; `sample` is only asked for the first few.
    #[cold]
    pub fn wrong(&mut self, why: Wrong, sample: impl FnOnce() -> (String, String, Vec<u8>)) {
        self.tally.wrong += 1;
        self.tally.reasons[why as usize] += 1;
        if self.samples.len() < SAMPLES_MAX {
            let (user, asked, bytes) = sample();
            let cut = &bytes[..bytes.len().min(SAMPLE_BYTES_MAX)];
            let answer = String::from_utf8_lossy(cut).into_owned();
            self.samples.push(Sample { why, user, asked, answer });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warm_up_leaves_its_failures_but_no_figures() {
        let mut recorder = Recorder::default();
        recorder.answered(200, 0, 0, 1000);
        recorder.registered(0, 1000);
        recorder.tally.lost = 2;
        recorder.wrong(Wrong::ToTag, || (String::new(), String::new(), Vec::new()));
        recorder.begin_measuring();
        let tally = &recorder.tally;
        assert_eq!((tally.requests, tally.registrations), (0, 0));
        assert_eq!((tally.lost, tally.wrong), (2, 1));
        assert_eq!(tally.reasons().collect::<Vec<_>>(), [(Wrong::ToTag, 1)]);
        assert_eq!(recorder.latencies.corrected.len(), 0);
    }

    #[test]
    fn samples_are_bounded() {
        let mut recorder = Recorder::default();
        for _ in 0..100 {
            recorder.wrong(Wrong::CallId, || ("u1".into(), "x".into(), vec![0xff; 5000]));
        }
        assert_eq!(recorder.tally.wrong, 100);
        assert_eq!(recorder.samples.len(), SAMPLES_MAX);
        assert!(recorder.samples[0].answer.chars().count() <= SAMPLE_BYTES_MAX);
    }

    #[test]
    fn corrected_counts_from_the_intended_time_and_uncorrected_from_the_send() {
        let mut recorder = Recorder::default();
        recorder.answered(200, 1_000_000, 5_000_000, 6_000_000);
        let close = |value: u64, to: u64| value.abs_diff(to) * 1000 <= to;
        assert!(close(recorder.latencies.corrected.max(), 5_000_000));
        assert!(close(recorder.latencies.uncorrected.max(), 1_000_000));
    }
}
