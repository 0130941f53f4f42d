//! Every maximum in one place. What comes from the network is refused, shed or cut at one of
//! these; the assertions at the end tie together the ones that depend on each other.

/// Longest message of any transport, bytes. Offsets inside a message fit `u16`.
pub const MESSAGE_BYTES_MAX: usize = 65_535;
/// Header fields of one message (each repetition counts; comma-separated values do not).
pub const HEADERS_MAX: usize = 128;
/// Longest name of a header field, bytes. RFC 4475 3.1.1.7 has one of 93.
pub const HEADER_NAME_BYTES_MAX: usize = 255;
/// Contact values of one REGISTER.
pub const CONTACTS_MAX: usize = 16;
/// Route entries of one Path.
pub const PATHS_MAX: usize = 8;
/// Option tags read from Require or Supported.
pub const OPTION_TAGS_MAX: usize = 32;
/// Longest canonical address-of-record, `user@domain`, bytes.
pub const AOR_BYTES_MAX: usize = 192;
/// Parameters of one URI, and as many headers. Comparing two URIs looks at each pair of them (RFC
/// 3261 19.1.4); no phone comes near.
pub const URI_PARAMS_MAX: usize = 32;
/// Longest Contact URI that is stored, bytes.
pub const CONTACT_BYTES_MAX: usize = 512;
/// Longest Call-ID that is stored, bytes.
pub const CALL_ID_BYTES_MAX: usize = 256;
/// Longest `+sip.instance` that is stored, bytes.
pub const INSTANCE_BYTES_MAX: usize = 128;
/// User-Agent values are cut to this many bytes, never refused.
pub const USER_AGENT_BYTES_MAX: usize = 128;
/// User-Agent texts of a shard that are kept once for all bindings that have them. Real phones have
/// some hundred; what goes beyond stands in each binding.
pub const AGENTS_MAX: usize = 4096;
/// Longest Path (all values together) that is stored, bytes.
pub const PATH_BYTES_MAX: usize = 512;
/// Largest settable limit of bindings of one address-of-record.
pub const BINDINGS_MAX: usize = 64;
/// Flows of one device under outbound (RFC 5626); phones use two. One more takes over the oldest.
pub const FLOWS_PER_DEVICE_MAX: usize = 4;
/// Longest GRUU (RFC 5627), bytes: an AOR and an instance with every byte of it escaped.
pub const GRUU_BYTES_MAX: usize = 640;
/// Longest response that is written, bytes: what one datagram can carry over IPv4.
pub const RESPONSE_BYTES_MAX: usize = 65_507;
/// Headers of a request that its response copies (Via, From, To, Call-ID, CSeq), bytes together.
/// More is refused before anything is changed, so that whatever is accepted can be answered.
pub const COPIED_BYTES_MAX: usize = 8_192;
/// What a Contact of a 200 has beside its texts: names, brackets, numbers.
pub const CONTACT_LINE_FRAME_BYTES: usize = 96;
/// The longest Contact of a 200, its GRUUs left out, bytes.
pub const CONTACT_LINE_BYTES_MAX: usize =
    CONTACT_BYTES_MAX + INSTANCE_BYTES_MAX + CONTACT_LINE_FRAME_BYTES;
/// What stands in a 200 beside its Contacts and what it copies, bytes: Path, Service-Route and a
/// number of short headers.
pub const LISTING_TAIL_BYTES_MAX: usize =
    PATH_BYTES_MAX + SERVICE_ROUTES_MAX * (URI_SETTING_BYTES_MAX + 24) + 1024;
/// Via values of a REGISTER that are read to find the phone's own.
pub const REGISTER_VIAS_MAX: usize = 32;
/// Contacts a redirection lists, the first in q order.
pub const REDIRECT_CONTACTS_MAX: usize = 16;
/// Datagrams of one receive or send batch.
pub const BATCH_MAX: usize = 32;
/// Shards (and reactors) of one process.
pub const SHARDS_MAX: usize = 128;
/// Batches of handoffs one turn of the loop takes, so that sockets and rings take turns.
pub const RING_BATCHES_PER_TURN_MAX: usize = 4;
/// Sockets one reactor listens on.
pub const LISTENERS_MAX: usize = 16;
/// Identities of a client's certificate that are kept, bytes together.
pub const PEER_BYTES_MAX: usize = 512;
/// Orders of a shard (messages to send, notices about connections) taken in one turn.
pub const ORDERS_PER_TURN_MAX: usize = 256;
/// Longest nonce of credentials that is hashed, bytes. Ours have 20; another server's may come in.
pub const NONCE_BYTES_MAX: usize = 256;
/// Longest cnonce that is hashed, bytes.
pub const CNONCE_BYTES_MAX: usize = 256;
/// Longest digest-uri that is hashed, bytes.
pub const DIGEST_URI_BYTES_MAX: usize = 1024;
/// Longest `method:uri` whose HA2 is remembered, bytes. Longer ones are hashed each time.
pub const A2_BYTES_MAX: usize = 126;
/// How far ahead of our clock the clock of a sibling may be, seconds. A nonce from further ahead
/// is not taken for ours.
pub const CLOCK_SKEW_S_MAX: u32 = 10;
/// Pairs of account and source whose failed logins are remembered, all shards together; as many
/// again for names without an account. 64 bytes each, taken with the first failure.
pub const SUSPENSION_PAIRS_MAX: usize = 1 << 16;
/// Suspensions that may end in one call, listed in one answer, or looked at by one order.
pub const SUSPENSIONS_PER_CALL_MAX: usize = 256;
/// Longest line of a subscriber file, bytes. The longest account with every HA1 and every option
/// fits.
pub const SUBSCRIBER_LINE_BYTES_MAX: usize = 4096;
/// Longest clear password of a subscriber file, bytes.
pub const PASSWORD_BYTES_MAX: usize = 256;
/// Shorter clear passwords of a subscriber file are pointed out.
pub const PASSWORD_CHARS_SAFE: usize = 12;
/// Networks one account may come from.
pub const ACCOUNT_NETWORKS_MAX: usize = 16;
/// Contacts an account may have without registering.
pub const STATIC_CONTACTS_MAX: usize = 8;
/// Networks of one setting.
pub const NETWORKS_MAX: usize = 64;
/// Networks of which something is said by itself.
pub const NETWORK_TABLES_MAX: usize = 4096;
/// Longest payload of a raw keepalive, bytes.
pub const KEEPALIVE_BYTES_MAX: usize = 256;
/// Databases of places.
pub const GEO_DATABASES_MAX: usize = 8;
/// URIs of the Service-Route.
pub const SERVICE_ROUTES_MAX: usize = 4;
/// Origins that may open a WebSocket.
pub const ORIGINS_MAX: usize = 64;
/// Longest URI or origin of a setting, bytes.
pub const URI_SETTING_BYTES_MAX: usize = 255;
/// Accounts of one shard; ids are `u32`.
pub const ACCOUNTS_MAX: usize = 1 << 28;
/// Longest From tag that a subscription stores, bytes.
pub const TAG_BYTES_MAX: usize = 128;
/// Longest `id` of an Event header, bytes.
pub const EVENT_ID_BYTES_MAX: usize = 64;
/// Longest route set of a dialog (all Record-Route values together), bytes.
pub const ROUTE_SET_BYTES_MAX: usize = 1024;
/// Longest host and port by which a subscriber reaches us, bytes.
pub const LOCAL_BYTES_MAX: usize = 272;
/// Subscriptions to the registrations of one address-of-record.
pub const SUBSCRIPTIONS_PER_AOR_MAX: usize = 32;
/// Subscriptions of one shard. Each takes about half a kilobyte where texts are of usual length.
pub const SUBSCRIPTIONS_MAX: usize = 1 << 20;
/// Changes of one address-of-record that are kept for subscribers who have not heard of them.
pub const REG_CHANGES_MAX: usize = 2 * BINDINGS_MAX;
/// NOTIFYs of one shard that wait for their answers and may have to be sent again, bytes together.
pub const NOTIFIES_KEPT_BYTES_MAX: usize = 64 << 20;
/// Room that every NOTIFY finds in the buffer it is written to, bytes: its headers, whatever the
/// subscriber put into the dialog, and at least one contact.
pub const NOTIFY_ROOM_BYTES_MIN: usize = 20_480;
/// Accounts of one order to a shard, so that traffic waits a tenth of a millisecond at most.
pub const ACCOUNTS_PER_CONTROL_MAX: usize = 256;
/// Accounts that one order may look at to see whether they go.
pub const ACCOUNTS_SWEPT_PER_CONTROL_MAX: usize = 16_384;
/// What one order to find bindings may cost, in slots of the table that are read one after the
/// other: a tenth of a millisecond.
pub const FIND_COST_MAX: usize = 8192;
/// Bindings that one order to find some gives.
pub const FIND_ROWS_MAX: usize = 128;
/// Longest address-of-record or contact that is looked for, bytes.
pub const FIND_TEXT_BYTES_MAX: usize = 1024;
/// Bindings whose names one order gives.
pub const FIND_NAMES_MAX: usize = 4096;
/// Bindings that one order takes out, or shows by their names.
pub const KICKS_PER_CONTROL_MAX: usize = 64;
/// Bindings that operators' plans to take out have together.
pub const PLANNED_KICKS_MAX: usize = 2_000_000;
/// Accounts of one shard that operators may have suspended at a time.
pub const BARRED_MAX: usize = 16_384;
/// Items of one list among the filters of a search.
pub const FIND_ITEMS_MAX: usize = 64;
/// Orders that may wait at one reactor.
pub const CONTROLS_WAITING_MAX: usize = 64;
/// Orders that one turn of the loop carries out.
pub const CONTROLS_PER_TURN_MAX: usize = 1;
/// Other names of one domain.
pub const DOMAIN_ALIASES_MAX: usize = 64;
/// Bindings that may leave by expiry in one turn of the loop, so that a million at once do not
/// stop the traffic.
pub const EXPIRIES_PER_TURN_MAX: usize = 256;
/// Slots of the table of bindings that one turn looks at when everybody is to get a turn of a
/// schedule.
pub const ENROLLED_PER_TURN_MAX: usize = 1024;
/// Entries of a schedule that move to another period with one batch of turns.
pub const SCHEDULE_MOVES_MAX: usize = 1024;
/// Networks of the guard: trusted, blocked, and those with limits of their own.
pub const GUARD_NETWORKS_MAX: usize = 65_536;
/// Words by which scanners are known, of one list. Each has a bit.
pub const SCANNER_WORDS_MAX: usize = 64;
/// Shortest such word, bytes: as many are compared at once.
pub const SCANNER_WORD_BYTES_MIN: usize = 3;
/// Longest such word, bytes.
pub const SCANNER_WORD_BYTES_MAX: usize = 64;
/// Sources that are blocked whole, or whose past blocks are remembered, at a time.
pub const BLACKLIST_MAX: usize = 65_536;
/// The longest block with an end, seconds: ten years.
pub const BLOCK_S_MAX: u32 = 315_360_000;
/// Sources that are restrained beside them, and were never blocked.
pub const RESTRAINTS_MAX: usize = 16_384;
/// Blocked sources of one page.
pub const BLOCKS_PER_CALL_MAX: usize = 256;
/// Networks that are told to the kernel, and all that its table takes.
pub const SHIELD_NETWORKS_MAX: usize = 2 * BLACKLIST_MAX;
/// Sources that one account vouches for at a time.
pub const SOURCES_PER_ACCOUNT_MAX: usize = 16;
/// What the guard of one shard has to tell the others and has not told yet.
pub const TOLD_WAITING_MAX: usize = 4096;
/// Records of one kind of security event that one shard keeps.
pub const SECURITY_RECORDS_PER_KIND_MAX: usize = 128;
/// Records that one order for security events gives.
pub const SECURITY_RECORDS_PER_CALL_MAX: usize = 256;
/// A security event that happens again after so long, seconds, is listed anew.
pub const SECURITY_WINDOW_S: u64 = 3600;
/// An account as it is listed in a security event, bytes.
pub const SECURITY_ACCOUNT_BYTES_MAX: usize = 64;
/// A User-Agent as it is listed in a security event, bytes.
pub const SECURITY_AGENT_BYTES_MAX: usize = 48;
/// Accounts of one shard whose sources and registrations are counted at a time.
pub const ALERT_ACCOUNTS: usize = 4096;
/// Dropped messages of one shard that a trace keeps until they are asked for.
pub const TRACE_MESSAGES_MAX: usize = 256;
/// First bytes of a dropped message that a trace shows.
pub const TRACE_HEAD_BYTES_MAX: usize = 512;
/// How long a trace that has ended can be asked for what it saw, seconds.
pub const TRACE_KEPT_S: u64 = 60;
/// Longest trace, seconds.
pub const TRACE_S_MAX: u32 = 3600;
/// Rows about registrations that one shard gives at a time, bytes together. Whoever collects them
/// takes a page without copying it.
pub const HISTORY_PAGE_BYTES: usize = 32 * 1024;
/// First bytes of a contact that history keeps.
pub const HISTORY_CONTACT_BYTES_MAX: usize = 192;
/// Sources, accounts and reasons of refused registrations that one shard tells apart at a time.
pub const HISTORY_REFUSALS_TRACKED: usize = 1024;
/// Rows about refusals and suspensions that one shard writes at once, and then in each second:
/// what honest phones do fills what is kept, not what attackers do.
pub const HISTORY_REFUSED_ROWS_BURST: u32 = 2000;
/// See [`HISTORY_REFUSED_ROWS_BURST`].
pub const HISTORY_REFUSED_ROWS_PER_S: u32 = 5;

const _: () = assert!(SCANNER_WORDS_MAX <= u64::BITS as usize);
/// Addresses of which one shard remembers to whom something was sent last, so that an ICMP error
/// finds its binding; a power of two. At 33 thousand messages a second that is a quarter of one.
pub const RECENT_SENDS: usize = 8192;
/// Endpoints of one shard that wait to be probed out of turn.
pub const PROBES_URGENT_MAX: usize = 1024;
/// Endpoints that one turn, or one look for the next probe, passes by without sending anything.
pub const PROBE_STEPS_MAX: usize = 256;
/// Accounts of one shard, each with an address, whose REGISTERs are ignored.
pub const IGNORED_MAX: usize = 65_536;

const _: () = assert!(RECENT_SENDS.is_power_of_two());
const _: () = assert!(MESSAGE_BYTES_MAX <= u16::MAX as usize);
const _: () = assert!(HEADERS_MAX < u8::MAX as usize);
const _: () = assert!(HEADER_NAME_BYTES_MAX <= u8::MAX as usize);
const _: () = assert!(CONTACTS_MAX <= BINDINGS_MAX);
const _: () = assert!(AOR_BYTES_MAX + 3 * INSTANCE_BYTES_MAX + "sips:;gr=".len() <= GRUU_BYTES_MAX);
const _: () = assert!(CONTACT_BYTES_MAX <= u16::MAX as usize);
const _: () = assert!(SHARDS_MAX <= u8::MAX as usize);
const _: () = assert!(AOR_BYTES_MAX <= u8::MAX as usize);
const _: () = assert!(
    AOR_BYTES_MAX * 3
        + 256
        + ACCOUNT_NETWORKS_MAX * 44
        + STATIC_CONTACTS_MAX * (URI_SETTING_BYTES_MAX + 16)
        <= SUBSCRIBER_LINE_BYTES_MAX
);
const _: () = assert!(A2_BYTES_MAX <= u8::MAX as usize);
const _: () = assert!(
    COPIED_BYTES_MAX
        + BINDINGS_MAX * CONTACT_LINE_BYTES_MAX
        + STATIC_CONTACTS_MAX * (CONTACT_BYTES_MAX + CONTACT_LINE_FRAME_BYTES)
        + LISTING_TAIL_BYTES_MAX
        <= RESPONSE_BYTES_MAX,
    "a 200 with every binding fits"
);
const _: () = assert!(
    COPIED_BYTES_MAX
        + REDIRECT_CONTACTS_MAX
            * (CONTACT_BYTES_MAX + 3 * PATH_BYTES_MAX + CONTACT_LINE_FRAME_BYTES)
        + 1024
        <= RESPONSE_BYTES_MAX,
    "a 302 with every contact fits"
);
