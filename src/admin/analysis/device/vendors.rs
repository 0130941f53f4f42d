//! How devices begin what they call themselves, and whose they are. The first row that fits holds,
//! so the longer beginnings of a vendor stand before the shorter ones.

/// Where the model is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Model {
    /// Behind the name of the vendor.
    Behind,
    /// With it: the name is part of the model.
    Whole,
    /// In brackets behind the version.
    Bracketed,
    /// In the product that follows.
    Next,
}

/// One row.
pub(super) struct Vendor {
    /// In any case.
    pub begins: &'static str,
    pub name: &'static str,
    pub model: Model,
}

macro_rules! vendors {
    ($($name:literal: $($model:ident [$($begins:literal),+])+;)+) => {
        &[$($($(Vendor { begins: $begins, name: $name, model: Model::$model }),+),+),+]
    };
}

/// Desk phones, adapters and gateways, DECT, doors and speakers; softphones; servers and stacks.
pub(super) static VENDORS: &[Vendor] = vendors! {
    "Yealink": Behind ["Yealink"];
    "Grandstream": Behind ["Grandstream"]
        Whole ["GXP", "GXV", "GRP2", "HT8", "HT7", "HT5", "UCM6", "WP8"];
    "Poly": Next ["Polycom/", "Poly/"]
        Behind ["PolycomSoundPointIP-", "PolycomSoundStationIP-", "PolycomVVX-",
            "PolycomRealPresenceTrio-", "PolycomCCX-", "PolyVVX-", "PolyTrio-", "PolyCCX-",
            "PolyEdge-", "PolyATA-", "PolyRove-", "Polycom", "Poly "];
    "Obihai": Behind ["OBIHAI"] Whole ["OBi2", "OBi3", "OBi5", "OBi1"];
    "Cisco": Behind ["Cisco-SIPGateway", "Cisco-CP-", "Cisco-CP", "Cisco Systems", "CiscoSystemsCP",
            "Cisco", "CSCO", "Linksys", "Sipura"];
    "Snom": Behind ["snom"];
    "Fanvil": Behind ["Fanvil"];
    "Gigaset": Behind ["Gigaset"]
        Whole ["C610", "C530", "C430", "C475", "C470", "C590", "C595", "S675", "S685", "S850",
            "S810", "A510", "A540", "A580", "N300 ", "N300A", "N510 IP", "N670 IP", "N870 IP",
            "DE310 IP", "DE410 IP", "DE700 IP", "DE900 IP", "DX600", "DX800", "DL500", "Maxwell"];
    "Panasonic": Behind ["Panasonic"] Whole ["KX-"];
    "Mitel": Behind ["Mitel", "Aastra"] Whole ["SIP-DECT", "OpenPhone 7"];
    "AudioCodes": Bracketed ["AUDC-IPPhone/"]
        Behind ["AUDC-IPPhone", "AUDC", "Audiocodes-Sip-Gateway", "AudioCodes"]
        Whole ["Mediant ", "MP-11", "MP-12", "MediaPack"];
    "Avaya": Behind ["Avaya"];
    "Htek": Behind ["Htek", "Hanlong"];
    "Escene": Behind ["Escene"];
    "Akuvox": Behind ["Akuvox"];
    "2N": Behind ["2N ", "2N-TELEKOMUNIKACE", "2N(R)"];
    "Unify": Behind ["OpenScape Desk Phone", "Unify"] Whole ["OpenStage", "optiPoint", "OpenScape"];
    "Alcatel-Lucent": Behind ["Alcatel-Lucent Enterprise", "Alcatel-Lucent", "ALE "]
        Whole ["OmniPCX", "OXO", "OXE"];
    "innovaphone": Behind ["innovaphone"];
    "Sangoma": Behind ["Sangoma"];
    "Digium": Behind ["Digium"];
    "VTech": Behind ["VTech"];
    "Thomson": Behind ["THOMSON", "Technicolor"];
    "Huawei": Behind ["HUAWEI"] Whole ["EchoLife", "eSpace"];
    "ZTE": Behind ["ZTE"];
    "Nortel": Behind ["Nortel"];
    "Flyingvoice": Behind ["FLYINGVOICE"];
    "Atcom": Behind ["ATCOM"];
    "Spectralink": Behind ["Spectralink", "KIRK"];
    "RTX": Behind ["RTX"];
    "Ascom": Behind ["Ascom"];
    "Auerswald": Behind ["Auerswald"] Whole ["COMfortel", "COMpact"];
    "Agfeo": Behind ["Agfeo"];
    "tiptel": Behind ["tiptel"];
    "Swissvoice": Behind ["Swissvoice"];
    "Algo": Behind ["Algo"];
    "CyberData": Behind ["CyberData"];
    "Axis": Behind ["AXIS"];
    "Hikvision": Behind ["Hikvision"];
    "Dahua": Behind ["Dahua"];
    "DoorBird": Behind ["DoorBird"];
    "Ubiquiti": Behind ["Ubiquiti", "ubnt", "UniFi"];
    "Wildix": Behind ["Wildix"];
    "LG-Ericsson": Behind ["LG-Ericsson", "Ericsson-LG"] Whole ["LIP-"];
    "AVM": Whole ["FRITZ!"] Behind ["AVM"];
    "DrayTek": Behind ["DrayTek"];
    "Deutsche Telekom": Whole ["Speedport", "Digitalisierungsbox"];
    "Zyxel": Behind ["ZyXEL"];
    "TP-Link": Behind ["TP-Link"];
    "Patton": Behind ["Patton"] Whole ["SmartNode"];
    "Mediatrix": Behind ["Mediatrix"];
    "Dinstar": Behind ["DINSTAR"] Whole ["DAG1", "DAG2", "DWG2", "UC2000"];
    "GoIP": Behind ["GoIP"] Whole ["HYBERTONE", "DBLTek"];
    "Yeastar": Behind ["Yeastar", "MyPBX", "NeoGate"];
    "OpenVox": Behind ["OpenVox"];
    "Newrock": Behind ["Newrock"];
    "Synway": Behind ["Synway"];
    "Zoiper": Behind ["Zoiper", "Z "];
    "CounterPath": Whole ["Bria", "X-Lite", "eyeBeam", "X-PRO"] Behind ["CounterPath"];
    "MicroSIP": Behind ["MicroSIP"];
    "Linphone": Behind ["Linphone", "belle-sip"];
    "Acrobits": Behind ["Acrobits"]
        Whole ["Groundwire", "CloudSoftphone", "Cloud Softphone", "SIPIS"];
    "PortSIP": Behind ["PortSIP"];
    "3CX": Behind ["3CXPhone", "3CX"];
    "Jitsi": Behind ["Jitsi"];
    "PhonerLite": Whole ["Phoner"];
    "Twinkle": Behind ["Twinkle"];
    "Ekiga": Behind ["Ekiga"];
    "Blink": Behind ["Blink"];
    "CSipSimple": Behind ["CSipSimple"];
    "Sipdroid": Behind ["Sipdroid"];
    "Android": Behind ["SIPAUA"];
    "Media5": Whole ["Media5"];
    "SessionTalk": Whole ["SessionTalk", "SessionChat"];
    "Sipnetic": Behind ["Sipnetic"];
    "Telephone": Behind ["Telephone "];
    "SJ Labs": Whole ["SJphone"];
    "Mizutech": Whole ["Mizu"];
    "Reve": Whole ["iTel", "REVE"];
    "baresip": Behind ["baresip"];
    "PJSIP": Whole ["PJSUA", "pjsip"];
    "JsSIP": Behind ["JsSIP"];
    "SIP.js": Behind ["SIP.js"] Whole ["Browser Phone"];
    "Doubango": Next ["IM-client/OMA1.0"] Whole ["sipML5", "webrtc2sip"];
    "Janus": Behind ["Janus"];
    "Asterisk": Behind ["Asterisk"];
    "FreePBX": Behind ["FPBX", "FreePBX"];
    "FreeSWITCH": Behind ["FreeSWITCH"];
    "FusionPBX": Behind ["FusionPBX"];
    "Kamailio": Behind ["Kamailio", "OpenSER", "SIP Express Router"];
    "OpenSIPS": Behind ["OpenSIPS"];
    "VOS": Whole ["VOS"];
    "Sippy": Behind ["Sippy"];
    "Oracle": Behind ["Oracle", "Acme Packet"];
    "Ribbon": Behind ["Ribbon", "Sonus"];
    "Microsoft": Behind ["RTCC", "Microsoft", "Skype"];
    "Sofia-SIP": Behind ["Telepathy-SofiaSIP", "sofia-sip"];
    "eXosip": Behind ["eXosip"];
    "SIPp": Behind ["SIPp"];
    "sipsak": Behind ["sipsak"];
};
