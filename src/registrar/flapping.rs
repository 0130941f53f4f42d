//! Two devices of one address-of-record that keep taking each other's place: phones of one account
//! in two rooms, each of which registers at once when it finds itself kicked. Known by a small
//! table that holds something only while it happens; a full one sheds the new.

use crate::config::Flapping as Settings;
use crate::registrar::binding::BindingId;
use crate::registrar::location::AorId;

/// Rows of the table. An AOR has one place, and only one AOR at a time has it.
const ROWS: usize = 512;

/// A binding, and what stays the same of its device when it comes back under another name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Party {
    pub binding: BindingId,
    pub mark: u32,
}

/// Something short that is the same for the same device: made from its instance or, without one,
/// from its contact. Two devices of one account that share it by chance are only taken for one.
pub(super) fn mark(instance: Option<&[u8]>, contact: &[u8]) -> u32 {
    const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
    let text = instance.unwrap_or(contact);
    let (words, rest) = text.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    // Letters in either case count as one: an instance is a URN.
    let words =
        words.iter().chain([&last]).map(|word| u64::from_le_bytes(*word) | 0x2020_2020_2020_2020);
    let sum = words
        .fold(text.len() as u64, |sum, word| (sum ^ word).wrapping_mul(MULTIPLIER).rotate_left(29));
    (sum ^ sum >> 32) as u32
}

#[derive(Clone, Copy, Debug)]
struct Row {
    aor: AorId,
    /// Who came last.
    winner: BindingId,
    /// Who had to go for it.
    loser_mark: u32,
    /// When the first kick of this window was.
    began_s: u32,
    /// Until when the loser waits.
    damped_until_s: u32,
    /// 0: nobody is here.
    kicks: u8,
}

const VACANT: Row = Row {
    aor: AorId(0),
    winner: BindingId { index: 0, generation: 0 },
    loser_mark: 0,
    began_s: 0,
    damped_until_s: 0,
    kicks: 0,
};

impl Row {
    fn holds(&self, now_s: u32, window_s: u32) -> bool {
        let in_window = now_s.saturating_sub(self.began_s) <= window_s;
        self.kicks > 0 && (in_window || now_s < self.damped_until_s)
    }
}

/// What was lately kicked by what.
#[derive(Debug, Default)]
pub(super) struct Flapping {
    rows: Vec<Row>,
}

impl Flapping {
    /// Notes that `winner` took the place of `loser`. Gives the number of kicks where this one
    /// makes it flapping.
    pub fn on_kick(
        &mut self,
        now_s: u32,
        aor: AorId,
        loser: Party,
        winner: Party,
        settings: &Settings,
    ) -> Option<u8> {
        if self.rows.is_empty() {
            self.rows = vec![VACANT; ROWS];
        }
        let row = &mut self.rows[aor.0 as usize % ROWS];
        let holds = row.holds(now_s, settings.window_s);
        // One kick alone is an everyday thing and gives way; two are somebody's quarrel.
        if holds && row.aor != aor && row.kicks > 1 {
            return None;
        }
        let answers = row.winner == loser.binding && row.loser_mark == winner.mark;
        let again = holds && row.aor == aor && answers;
        if again && now_s.saturating_sub(row.began_s) <= settings.window_s {
            row.kicks = row.kicks.saturating_add(1);
        } else {
            *row = Row { aor, began_s: now_s, kicks: 1, ..VACANT };
        }
        row.winner = winner.binding;
        row.loser_mark = loser.mark;
        if row.kicks != settings.kicks.max(2) {
            return None;
        }
        row.damped_until_s = now_s.saturating_add(settings.damping_s);
        Some(row.kicks)
    }

    /// How long a device has to wait before it may kick `incumbent`, seconds; `None` if it need
    /// not: the two do not flap, or are not damped.
    pub fn damped_s(
        &self,
        now_s: u32,
        aor: AorId,
        incumbent: BindingId,
        newcomer_mark: impl FnOnce() -> u32,
    ) -> Option<u32> {
        let row = self.rows.get(aor.0 as usize % ROWS)?;
        let damped = row.kicks > 0
            && now_s < row.damped_until_s
            && row.aor == aor
            && row.winner == incumbent
            && row.loser_mark == newcomer_mark();
        damped.then(|| row.damped_until_s - now_s)
    }

    /// Forgets an AOR, whose number may come to name another account.
    pub fn forget(&mut self, aor: AorId) {
        if let Some(row) = self.rows.get_mut(aor.0 as usize % ROWS)
            && row.aor == aor
        {
            *row = VACANT;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Settings = Settings { window_s: 60, kicks: 4, damping_s: 30 };
    const A: u32 = 1;
    const B: u32 = 2;

    /// Lets two devices kick each other at these seconds, each time under a new name.
    fn quarrel(flapping: &mut Flapping, aor: AorId, at: &[u32]) -> Vec<Option<u8>> {
        let name = |index| BindingId { index, generation: 1 };
        at.iter()
            .zip(1..)
            .map(|(&now_s, turn)| {
                let (loser, winner) = if turn % 2 == 1 { (A, B) } else { (B, A) };
                let loser = Party { binding: name(turn - 1), mark: loser };
                let winner = Party { binding: name(turn), mark: winner };
                flapping.on_kick(now_s, aor, loser, winner, &SETTINGS)
            })
            .collect()
    }

    #[test]
    fn so_many_kicks_of_the_same_two_within_the_window_are_flapping_and_are_told_once() {
        let mut flapping = Flapping::default();
        let told = quarrel(&mut flapping, AorId(7), &[0, 10, 20, 30, 40, 50]);
        assert_eq!(told, [None, None, None, Some(4), None, None]);
    }

    #[test]
    fn slower_kicks_are_not_flapping() {
        let told = quarrel(&mut Flapping::default(), AorId(7), &[0, 30, 61, 95, 130, 170]);
        assert_eq!(told, [None; 6]);
    }

    #[test]
    fn a_row_of_different_devices_is_not_flapping() {
        let mut flapping = Flapping::default();
        for turn in 1..20 {
            let name = |index| BindingId { index, generation: 1 };
            let loser = Party { binding: name(turn - 1), mark: turn - 1 };
            let winner = Party { binding: name(turn), mark: turn };
            assert_eq!(flapping.on_kick(turn, AorId(7), loser, winner, &SETTINGS), None);
        }
    }

    #[test]
    fn the_loser_of_a_flapping_pair_waits_and_nobody_else() {
        let mut flapping = Flapping::default();
        quarrel(&mut flapping, AorId(7), &[0, 10, 20, 30]);
        let incumbent = BindingId { index: 4, generation: 1 };
        assert_eq!(flapping.damped_s(35, AorId(7), incumbent, || B), Some(25));
        assert_eq!(flapping.damped_s(60, AorId(7), incumbent, || B), None, "it is over");
        assert_eq!(flapping.damped_s(35, AorId(7), incumbent, || 9), None, "another device");
        let other = BindingId { index: 4, generation: 3 };
        assert_eq!(flapping.damped_s(35, AorId(7), other, || B), None, "another incumbent");
        assert_eq!(flapping.damped_s(35, AorId(8), incumbent, || B), None, "another AOR");
        flapping.forget(AorId(7));
        assert_eq!(flapping.damped_s(35, AorId(7), incumbent, || B), None, "forgotten");
    }

    #[test]
    fn a_quarrel_keeps_its_place_and_a_single_kick_gives_way() {
        let (first, second) = (AorId(3), AorId(3 + ROWS as u32));
        let mut flapping = Flapping::default();
        quarrel(&mut flapping, second, &[0]);
        assert_eq!(quarrel(&mut flapping, first, &[1, 2, 3, 4])[3], Some(4));
        assert_eq!(quarrel(&mut flapping, second, &[5, 6, 7, 8]), [None; 4], "shed");
        assert_eq!(quarrel(&mut flapping, second, &[70, 71, 72, 73])[3], Some(4), "free again");
    }

    #[test]
    fn a_device_is_known_by_its_instance_in_any_case_or_by_its_contact() {
        let upper = mark(Some(b"<urn:uuid:00AB-1234567>"), b"sip:a@h");
        assert_eq!(mark(Some(b"<urn:uuid:00ab-1234567>"), b"sip:b@h"), upper);
        assert_ne!(mark(Some(b"<urn:uuid:00ab-1234568>"), b"sip:a@h"), upper);
        assert_ne!(mark(None, b"sip:a@h"), mark(None, b"sip:b@h"));
    }
}
