//! What guards tell each other, as the fixed fields of a record.

use bytes::{Buf, BufMut};

use super::record::{put_ip, take_ip};
use crate::guard::Told;
use crate::guard::score::Surety;
use crate::guard::told::Scope;
use crate::time::Instant;

const SPENT: u8 = 1;
const PROVED: u8 = 2;
const OFFENDED: u8 = 3;
const BLOCKED: u8 = 4;
const SUSPENDED: u8 = 5;
const SUSPECTED: u8 = 6;
const ABSOLVED: u8 = 7;
const LIFTED: u8 = 8;
const UNVOUCHED: u8 = 9;

/// Writes what is told.
pub(super) fn put(out: &mut impl BufMut, told: Told) {
    match told {
        Told::Spent { source, scope, requests, registers, proofs } => {
            out.put_u8(SPENT);
            put_ip(out, Some(source));
            out.put_slice(&[scope as u8, requests, registers, proofs]);
        }
        Told::Proved { source, account, new } => {
            out.put_u8(PROVED);
            put_ip(out, Some(source));
            out.put_u64_ne(account);
            out.put_u8(new.into());
        }
        Told::Unvouched { source } => {
            out.put_u8(UNVOUCHED);
            put_ip(out, Some(source));
        }
        Told::Offended { source, points, account, surety } => {
            out.put_u8(OFFENDED);
            put_ip(out, Some(source));
            out.put_u16_ne(points);
            out.put_u64_ne(account);
            out.put_u8(surety as u8);
        }
        Told::Blocked { source, until, whole, times } => {
            out.put_u8(BLOCKED);
            put_ip(out, Some(source));
            out.put_u64_ne(until.as_nanos());
            out.put_slice(&[whole.into(), times]);
        }
        Told::Suspended { source, account } => {
            out.put_u8(SUSPENDED);
            put_ip(out, Some(source));
            out.put_u64_ne(account);
        }
        Told::Suspected { source } => {
            out.put_u8(SUSPECTED);
            put_ip(out, Some(source));
        }
        Told::Absolved { source } => {
            out.put_u8(ABSOLVED);
            put_ip(out, Some(source));
        }
        Told::Lifted { source } => {
            out.put_u8(LIFTED);
            put_ip(out, Some(source));
        }
    }
}

/// Reads what was written.
///
/// # Panics
/// If it was not written by [`put`].
pub(super) fn take(tag: &mut impl Buf) -> Told {
    let kind = tag.get_u8();
    let source = take_ip(tag).expect("every word of a guard is about a source");
    match kind {
        SPENT => Told::Spent {
            source,
            scope: Scope::ALL[usize::from(tag.get_u8())],
            requests: tag.get_u8(),
            registers: tag.get_u8(),
            proofs: tag.get_u8(),
        },
        PROVED => Told::Proved { source, account: tag.get_u64_ne(), new: tag.get_u8() != 0 },
        UNVOUCHED => Told::Unvouched { source },
        OFFENDED => Told::Offended {
            source,
            points: tag.get_u16_ne(),
            account: tag.get_u64_ne(),
            surety: Surety::ALL[usize::from(tag.get_u8())],
        },
        BLOCKED => Told::Blocked {
            source,
            until: Instant::from_nanos(tag.get_u64_ne()),
            whole: tag.get_u8() != 0,
            times: tag.get_u8(),
        },
        SUSPENDED => Told::Suspended { source, account: tag.get_u64_ne() },
        SUSPECTED => Told::Suspected { source },
        ABSOLVED => Told::Absolved { source },
        LIFTED => Told::Lifted { source },
        other => panic!("a word of a guard of an unknown kind, {other}"),
    }
}

#[cfg(all(test, not(aorta_loom)))]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;
    use crate::shard::mesh::ring::TAG_BYTES;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn every_word_survives_and_fits(
            source in any::<IpAddr>(),
            (points, account) in any::<(u16, u64)>(),
            surety in 0usize..3,
            (until, whole, times) in any::<(u64, bool, u8)>(),
            scope in 0usize..3,
            (requests, registers, proofs) in any::<(u8, u8, u8)>(),
            which in 0usize..9,
        ) {
            let told = [
                Told::Spent { source, scope: Scope::ALL[scope], requests, registers, proofs },
                Told::Proved { source, account, new: whole },
                Told::Unvouched { source },
                Told::Offended { source, points, account, surety: Surety::ALL[surety] },
                Told::Blocked { source, until: Instant::from_nanos(until), whole, times },
                Told::Suspended { source, account },
                Told::Suspected { source },
                Told::Absolved { source },
                Told::Lifted { source },
            ][which];
            // Behind the kind and the shard.
            let mut tag = [0; TAG_BYTES - 2];
            put(&mut &mut tag[..], told);
            prop_assert_eq!(take(&mut &tag[..]), told);
        }
    }
}
