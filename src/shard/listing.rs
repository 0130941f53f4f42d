//! The 200 to a REGISTER (RFC 3261 10.3 step 8): all current bindings, and what was agreed on.

use crate::limits::{CONTACT_LINE_BYTES_MAX, GRUU_BYTES_MAX, LISTING_TAIL_BYTES_MAX};
use crate::reg_event::request::PACKAGE;
use crate::registrar::gruu::{GruuText, write_public};
use crate::registrar::{Accepted, Aor, Listed, Registrar, TokenKeys};
use crate::shard::ShardId;
use crate::shard::extensions::Extensions;
use crate::shard::negotiate::Negotiated;
use crate::sip::write::{ContactLine, Full, Response};
use crate::time::UnixTime;

/// What a 200 is made from.
pub(super) struct Listing<'a> {
    pub registrar: &'a Registrar,
    pub extensions: &'a Extensions,
    pub tokens: &'a TokenKeys,
    pub shard: ShardId,
    pub aor: &'a Aor<'a>,
    pub accepted: &'a Accepted,
    pub negotiated: Negotiated,
    /// The Path of the request.
    pub path: &'a [u8],
    /// What a phone that pings is told, seconds; 0 tells it nothing.
    pub flow_timer_s: u32,
    pub now: UnixTime,
}

impl Listing<'_> {
    /// Writes all of it.
    ///
    /// # Errors
    /// [`Full`].
    #[inline]
    pub fn write_to(&self, response: &mut Response<'_>) -> Result<(), Full> {
        let Listing { registrar, extensions, negotiated, accepted, .. } = *self;
        if negotiated.gruu {
            self.contacts_with_gruus(response)?;
        } else {
            for listed in registrar.answer(accepted) {
                let instance = listed.instance.map(|instance| instance.text());
                response.contact(&line(&listed, instance.as_deref()))?;
            }
        }
        if negotiated.tells || negotiated.echoes_path || negotiated.outbound {
            self.agreed(response)?;
        }
        if extensions.reg_event {
            // RFC 6665 4.4.4: a phone learns here that it can watch its own registration.
            response.header_text("Allow-Events", PACKAGE.as_bytes())?;
        }
        // RFC 3608 6.3
        if !extensions.service_route.is_empty() {
            let routes = extensions.service_route.iter().map(Vec::as_slice);
            response.header_each("Service-Route", routes)?;
        }
        if extensions.date {
            response.date(self.now)?;
        }
        Ok(())
    }

    /// RFC 5627 5.3. An account with many long contacts may have more GRUUs than a datagram can
    /// carry: then the first ones are given, and every contact is listed all the same.
    #[cold]
    fn contacts_with_gruus(&self, response: &mut Response<'_>) -> Result<(), Full> {
        let Listing { registrar, accepted, aor, .. } = *self;
        let (mut public, mut temporary) = (GruuText::new(), GruuText::new());
        let mut left = registrar.answer(accepted).count();
        for listed in registrar.answer(accepted) {
            let needed =
                left * CONTACT_LINE_BYTES_MAX + 2 * GRUU_BYTES_MAX + LISTING_TAIL_BYTES_MAX;
            let fits = response.remaining() >= needed;
            let secure = listed.contact.get(..5).is_some_and(|s| s.eq_ignore_ascii_case(b"sips:"));
            let instance = listed.instance.map(|instance| instance.text());
            let instance = instance.as_deref();
            let has_public = instance
                .filter(|_| fits && listed.pub_gruu)
                .and_then(|instance| write_public(aor.text(), secure, instance, &mut public))
                .is_some();
            let has_temporary = listed
                .temp_gruu
                .filter(|_| fits)
                .and_then(|mint| {
                    mint.write_to(self.tokens, self.shard.0, aor.domain(), secure, &mut temporary)
                })
                .is_some();
            response.contact(&ContactLine {
                pub_gruu: has_public.then_some(public.as_slice()),
                temp_gruu: has_temporary.then_some(temporary.as_slice()),
                ..line(&listed, instance)
            })?;
            left -= 1;
        }
        Ok(())
    }

    #[cold]
    fn agreed(&self, response: &mut Response<'_>) -> Result<(), Full> {
        let Listing { extensions, negotiated, path, .. } = *self;
        // RFC 3327 5.3: as it came.
        if negotiated.echoes_path && !path.is_empty() {
            response.header_text("Path", path)?;
        }
        if negotiated.outbound {
            // RFC 5626 6
            response.header_text("Require", b"outbound")?;
            // RFC 5626 4.4: to the first hop, which sends the pings on; it knows its own time.
            if negotiated.is_first_hop && self.flow_timer_s > 0 {
                response.header_number("Flow-Timer", self.flow_timer_s.into())?;
            }
        }
        if negotiated.tells && !extensions.supported_text.is_empty() {
            response.header_text("Supported", extensions.supported_text.as_bytes())?;
        }
        Ok(())
    }
}

#[inline]
fn line<'a>(listed: &Listed<'a>, instance: Option<&'a [u8]>) -> ContactLine<'a> {
    ContactLine {
        uri: listed.contact,
        expires: listed.expires_s,
        q: listed.q,
        instance,
        reg_id: listed.reg_id,
        pub_gruu: None,
        temp_gruu: None,
    }
}
