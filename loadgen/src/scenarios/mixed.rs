//! `mixed`: refreshes, registrations, unregistrations, fetches, wrong passwords and OPTIONS by
//! weight. Wrong passwords come from accounts of their own, so that a server that suspends an
//! account after some of them does not refuse its right ones here.

use super::{Action, Phone, Shape, Weights};

pub(super) const SHAPE: Shape = Shape {
    name: "mixed",
    about: "refreshes, registrations, unregisters, fetches, wrong passwords, OPTIONS by weight",
    warm_up: true,
    devices: 1,
    storm: false,
    alone: false,
    next,
};

fn next(phone: &Phone, weights: &Weights) -> Action {
    let total = u64::from(weights.total());
    let wrong = u64::from(weights.wrong);
    // Spreads the accounts with wrong passwords evenly over all of them.
    if (u64::from(phone.account) + 1) * wrong / total > u64::from(phone.account) * wrong / total {
        return Action::WrongPassword;
    }
    let mut left = ((u64::from(phone.draw) * (total - wrong)) >> 32) as u32;
    for (weight, action) in [
        (weights.refresh, Action::Refresh),
        (weights.register, Action::Register),
        (weights.unregister, Action::Unregister),
        (weights.fetch, Action::Fetch),
        (weights.options, Action::Options),
    ] {
        if left < weight {
            return match action {
                Action::Refresh | Action::Unregister if !phone.registered => Action::Register,
                action => action,
            };
        }
        left -= weight;
    }
    Action::WrongPassword
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_come_in_their_weights() {
        let weights = Weights::default();
        let mut counts = std::collections::HashMap::new();
        for account in 0..100u32 {
            for step in 0..1000u32 {
                let draw = step * (u32::MAX / 1000) + account;
                let action = next(&Phone { account, registered: true, draw }, &weights);
                *counts.entry(format!("{action:?}")).or_insert(0u32) += 1;
            }
        }
        for (action, share) in [
            ("Refresh", 70),
            ("Register", 10),
            ("Unregister", 5),
            ("Fetch", 5),
            ("WrongPassword", 5),
            ("Options", 5),
        ] {
            let got = counts[action];
            assert!(got.abs_diff(share * 1000) < 600, "{action}: {got} of 100000");
        }
    }

    #[test]
    fn an_account_has_either_right_or_wrong_passwords() {
        let weights = Weights { wrong: 30, ..Weights::default() };
        for account in 0..200 {
            let wrong = |draw| {
                next(&Phone { account, registered: true, draw }, &weights) == Action::WrongPassword
            };
            let first = wrong(0);
            assert!((0..64u32).all(|step| wrong(step << 26) == first), "account {account}");
        }
    }

    #[test]
    fn who_is_not_registered_registers_instead_of_refreshing() {
        let weights = "refresh=1,unregister=1".parse().unwrap();
        for draw in [0, u32::MAX] {
            let phone = Phone { account: 0, registered: false, draw };
            assert_eq!(next(&phone, &weights), Action::Register);
        }
    }
}
