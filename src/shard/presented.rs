//! The credentials of a batch, looked at before the first message of it is answered, so that their
//! digests are computed side by side. Nothing is decided or counted here: what is found out is what
//! would be found out later, one by one, and what nobody asks for in the end has had no effect.

use arrayvec::ArrayVec;

use crate::auth::challenge::HeaderNames;
use crate::auth::check::claim;
use crate::auth::claim::{Answered, Claim, answer_all};
use crate::auth::gate::Gate;
use crate::auth::nonce::Judged;
use crate::auth::suspension::Standing;
use crate::guard::Entry;
use crate::limits::BATCH_MAX;
use crate::shard::Datagram;
use crate::shard::authorize::{check_of, gate};
use crate::shard::batch::{Addressed, Read};
use crate::shard::core::Core;
use crate::shard::request::Arrival;
use crate::shard::stages::Watch;
use crate::sip::header::authorization::{Credentials, CredentialsError};
use crate::sip::{Parsed, StartLine};
use crate::time::Now;

/// Fewer messages than these gain nothing by being looked at together.
const TOGETHER_MIN: usize = 3;

/// What was found out about the credentials of a request.
#[derive(Clone, Copy)]
pub(super) struct Presented<'a> {
    /// Those for the realm of the domain, if there are any.
    pub credentials: Result<Option<Credentials<'a>>, CredentialsError>,
    /// What their nonce is worth to the source.
    pub nonce: Judged,
    /// Whether their digest is right; none where it was not looked at.
    pub answered: Option<Answered>,
}

impl Core {
    /// Looks at the credentials of those messages that are for this shard.
    #[inline]
    pub fn look_ahead(&mut self, now: Now, batch: &[Datagram<'_>], reads: &mut [Read<'_>]) {
        let mut ours: ArrayVec<usize, BATCH_MAX> = ArrayVec::new();
        ours.extend((0..reads.len()).filter(|&nth| self.is_ours(&reads[nth])));
        if ours.len() < TOGETHER_MIN {
            return;
        }
        for &nth in &ours {
            self.read_credentials(now, &batch[nth], &mut reads[nth]);
        }
        let mut claims: ArrayVec<Claim<'_>, BATCH_MAX> = ArrayVec::new();
        ours.retain(|&mut nth| {
            let claim = self.claim_of(now, &batch[nth], &reads[nth]);
            claims.extend(claim);
            claim.is_some()
        });
        let answers = answer_all(&claims, &mut self.ha2s, &mut self.lanes);
        drop(claims);
        for (nth, answered) in ours.into_iter().zip(answers) {
            if let Ok(Addressed { presented: Some(presented), .. }) = &mut reads[nth].addressed {
                presented.answered = Some(answered);
            }
        }
    }

    /// Whether a message has credentials and is for this shard.
    fn is_ours(&self, read: &Read<'_>) -> bool {
        matches!(read.addressed, Ok(Addressed { key: Some(key), .. }) if self.owns(key))
    }

    fn read_credentials(&self, now: Now, datagram: &Datagram<'_>, read: &mut Read<'_>) {
        let Parsed::Complete { message, .. } = read.parsed else { return };
        let Ok(addressed) = &mut read.addressed else { return };
        let (source, realm) = (datagram.source.ip(), addressed.aor.domain());
        let header = HeaderNames::of(self.auth.challenge_code).credentials;
        let credentials = message.credentials(header, realm);
        let nonce = match &credentials {
            Ok(Some(Credentials { nonce, .. })) => {
                let lifetime_s = self.auth.nonce_lifetime_s;
                self.keys.nonce.judge(nonce, now.wall, source, realm, lifetime_s)
            }
            Ok(None) | Err(_) => Judged::Foreign,
        };
        addressed.presented = Some(Presented { credentials, nonce, answered: None });
    }

    /// What is to be hashed for a message; nothing where no password is looked at.
    fn claim_of<'r>(
        &self,
        now: Now,
        datagram: &'r Datagram<'_>,
        read: &'r Read<'_>,
    ) -> Option<Claim<'r>> {
        // Over a limit it may well be dropped.
        if read.entry != Entry::Open {
            return None;
        }
        let Parsed::Complete { message, .. } = read.parsed else { return None };
        let StartLine::Request { method_bytes, .. } = message.start_line() else { return None };
        let addressed = read.addressed.as_ref().ok()?;
        let presented = addressed.presented.as_ref()?;
        let Ok(Some(credentials)) = &presented.credentials else { return None };
        if presented.nonce == Judged::Foreign {
            return None;
        }
        let arrival = Arrival { now, datagram, handed_over: false, watch: Watch::NONE };
        let gate = gate(self, &arrival, addressed);
        let standing = self.suspensions.standing(addressed.key?, datagram.source.ip());
        if gate == Gate::Open || standing == Standing::Suspended {
            return None;
        }
        let check = check_of(self, now, addressed, credentials, method_bytes, presented.nonce);
        let account = addressed.account.and_then(|account| gate.account(account));
        claim(&check, &self.accounts, account).ok()
    }
}
