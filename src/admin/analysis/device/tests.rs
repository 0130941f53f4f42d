//! User-Agents that are met, and what must hold for those that are not.

use proptest::prelude::*;

use super::*;

/// User-Agent, vendor, model, firmware.
const SAMPLES: &[(&str, &str, &str, &str)] = &[
    ("Yealink SIP-T46S 66.85.0.5", "Yealink", "SIP-T46S", "66.85.0.5"),
    ("Yealink SIP-T54W 96.86.0.20 80:5e:c0:aa:bb:cc", "Yealink", "SIP-T54W", "96.86.0.20"),
    ("Yealink W60B 77.83.0.85", "Yealink", "W60B", "77.83.0.85"),
    ("Yealink SIP VP-T49G 51.80.0.100", "Yealink", "SIP VP-T49G", "51.80.0.100"),
    ("Grandstream GXP2170 1.0.9.135", "Grandstream", "GXP2170", "1.0.9.135"),
    ("Grandstream HT818 1.0.17.5 ", "Grandstream", "HT818", "1.0.17.5"),
    ("Grandstream HT-502  V1.2A 1.0.8.4 chip V2.2", "Grandstream", "HT-502", "1.0.8.4"),
    ("Grandstream UCM6204V1.6A 1.0.19.27", "Grandstream", "UCM6204V1.6A", "1.0.19.27"),
    ("GXV3275 1.0.3.158", "Grandstream", "GXV3275", "1.0.3.158"),
    ("PolycomSoundPointIP-SPIP_550-UA/3.3.5.0247", "Poly", "SPIP 550", "3.3.5.0247"),
    ("PolycomVVX-VVX_411-UA/5.9.5.0614", "Poly", "VVX 411", "5.9.5.0614"),
    ("PolycomVVX-VVX_600-UA/5.8.0.12848_0004f2abcdef", "Poly", "VVX 600", "5.8.0.12848"),
    ("Polycom/5.9.5.0614 PolycomVVX-VVX_411-UA/5.9.5.0614", "Poly", "VVX 411", "5.9.5.0614"),
    ("Poly/8.1.1.0826 PolyEdge-Edge_E350-UA/8.1.1.0826", "Poly", "Edge E350", "8.1.1.0826"),
    ("PolycomRealPresenceTrio-Trio_8800-UA/5.9.3.2857", "Poly", "Trio 8800", "5.9.3.2857"),
    ("OBIHAI/OBi202-3.2.2.8680EX", "Obihai", "OBi202", "3.2.2.8680EX"),
    ("Cisco/SPA504G-7.6.2SR7", "Cisco", "SPA504G", "7.6.2SR7"),
    ("Cisco/SPA112-1.4.1(SR1)", "Cisco", "SPA112", "1.4.1"),
    ("Linksys/SPA942-6.1.5(a)", "Cisco", "SPA942", "6.1.5"),
    ("Linksys/PAP2T-5.1.6(LS)", "Cisco", "PAP2T", "5.1.6"),
    ("Sipura/SPA2100-3.3.6", "Cisco", "SPA2100", "3.3.6"),
    ("Cisco-CP-8851-3PCC/11.3.2", "Cisco", "8851-3PCC", "11.3.2"),
    ("Cisco-CP7960G/8.0", "Cisco", "7960G", "8.0"),
    ("Cisco-SIPGateway/IOS-15.4.3.M2", "Cisco", "IOS", "15.4.3.M2"),
    ("Cisco/ATA192-11.1.0", "Cisco", "ATA192", "11.1.0"),
    ("CSCO/7", "Cisco", "7", ""),
    ("snom370/8.4.35", "Snom", "370", "8.4.35"),
    ("snomD785/10.1.54.13", "Snom", "D785", "10.1.54.13"),
    ("snomD735/10.1.64.14 000413ABCDEF", "Snom", "D735", "10.1.64.14"),
    ("snom-m3-SIP/02.20//22-Apr-13", "Snom", "m3-SIP", "02.20"),
    ("Fanvil X6U 2.4.0.1 0c383e112233", "Fanvil", "X6U", "2.4.0.1"),
    ("Fanvil X3S 2.14.0.7396", "Fanvil", "X3S", "2.14.0.7396"),
    (
        "Gigaset N510 IP PRO/42.250.00.000.000; 7C2F80AABBCC",
        "Gigaset",
        "N510 IP PRO",
        "42.250.00.000.000",
    ),
    ("C610 IP/42.250.00.000.000", "Gigaset", "C610 IP", "42.250.00.000.000"),
    (
        "Gigaset N870 IP PRO/83.V2.48.0+build.a546b91;7C2F80AABBCC",
        "Gigaset",
        "N870 IP PRO",
        "83.V2.48.0",
    ),
    ("Panasonic_KX-UT123NE/01.302 (0080f0abcdef)", "Panasonic", "KX-UT123NE", "01.302"),
    ("Panasonic_KX-TGP600G01/11.31 (0080f0e1f2a3)", "Panasonic", "KX-TGP600G01", "11.31"),
    ("Aastra 6757i/3.3.1.4305", "Mitel", "6757i", "3.3.1.4305"),
    ("Aastra 480i/1.4.3.1001 Brcm-Callctrl/1.5.1.0 MxSF/v3.2.6.26", "Mitel", "480i", "1.4.3.1001"),
    ("Mitel 6865i/4.2.0.181", "Mitel", "6865i", "4.2.0.181"),
    ("Mitel-5330-SIP-Phone 08.02.00.05 08000F123456", "Mitel", "5330-SIP-Phone", "08.02.00.05"),
    ("AUDC-IPPhone/3.1.2.89 (440HDG-Rev0; 00908FAABBCC)", "AudioCodes", "440HDG-Rev0", "3.1.2.89"),
    (
        "Audiocodes-Sip-Gateway-MP-118 FXS/v.6.60A.252.008",
        "AudioCodes",
        "MP-118 FXS",
        "6.60A.252.008",
    ),
    ("Mediant 1000/v.6.80A.008", "AudioCodes", "Mediant 1000", "6.80A.008"),
    ("Avaya one-X Deskphone", "Avaya", "one-X Deskphone", ""),
    ("Avaya J179 IP Phone 4.0.5.0.10", "Avaya", "J179 IP Phone", "4.0.5.0.10"),
    ("Htek UC924 V2.0.4.2.26", "Htek", "UC924", "2.0.4.2.26"),
    ("Escene ES410 V2.1.9.4", "Escene", "ES410", "2.1.9.4"),
    ("Akuvox R29 29.30.2.45", "Akuvox", "R29", "29.30.2.45"),
    ("2N IP Verso 2.34.0.43.1", "2N", "IP Verso", "2.34.0.43.1"),
    ("THOMSON ST2030 hw0 fw2.74 00-14-7F-12-34-56", "Thomson", "ST2030", "2.74"),
    ("Digium D40 1_4_0_0_57389", "Digium", "D40", "1_4_0_0_57389"),
    ("OpenStage_40_V3 R3.1.0 SIP 120531", "Unify", "OpenStage_40_V3", "R3.1.0"),
    ("AVM FRITZ!Box 7590 154.07.29 TAL (Mar 18 2022)", "AVM", "FRITZ!Box 7590", "154.07.29"),
    (
        "AVM FRITZ!Box Fon WLAN 7270 v3 (UI) 74.04.86 TAL (Jul  9 2010)",
        "AVM",
        "FRITZ!Box Fon WLAN 7270 v3",
        "74.04.86",
    ),
    (
        "Patton SN4141 2JS4EUI 00A0BA0D2F4C R6.9 2016-12-08 H323 SIP BRI M5T SIP Stack/4.2.14.18",
        "Patton",
        "SN4141 2JS4EUI",
        "R6.9",
    ),
    ("DINSTAR DAG1000-4S 2.18.02.06", "Dinstar", "DAG1000-4S", "2.18.02.06"),
    ("GoIP", "GoIP", "", ""),
    ("VOS3000 V2.1.6.00", "VOS", "VOS3000", "2.1.6.00"),
    ("Zoiper rv2.10.19.4", "Zoiper", "", "2.10.19.4"),
    ("Z 5.4.12 v2.10.18.6", "Zoiper", "", "5.4.12"),
    ("X-Lite release 4.9.8 stamp 84253", "CounterPath", "X-Lite", "4.9.8"),
    ("Bria 4 release 4.8.1 stamp 84929", "CounterPath", "Bria 4", "4.8.1"),
    ("eyeBeam release 1102q stamp 51814", "CounterPath", "eyeBeam", "1102q"),
    ("MicroSIP/3.20.7", "MicroSIP", "", "3.20.7"),
    ("Linphone/3.6.1 (eXosip2/4.1.0)", "Linphone", "", "3.6.1"),
    ("LinphoneAndroid/4.6.11 (Pixel 5) LinphoneSDK/5.1.0", "Linphone", "Android", "4.6.11"),
    ("Groundwire/6.5.1 (build 1234; iOS 16.1; arm64)", "Acrobits", "Groundwire", "6.5.1"),
    ("Acrobits Softphone/5.8.1", "Acrobits", "Softphone", "5.8.1"),
    ("PortSIP UC Client  Android - v12.8.3", "PortSIP", "UC Client Android -", "12.8.3"),
    ("baresip v1.0.0 (x86_64/linux)", "baresip", "", "1.0.0"),
    ("PJSUA v2.10 Linux-5.4/x86_64/glibc-2.31", "PJSIP", "PJSUA", "2.10"),
    ("Asterisk PBX 16.2.1~dfsg-1+deb10u2", "Asterisk", "PBX", "16.2.1"),
    ("FPBX-15.0.16.20(16.6.2)", "FreePBX", "", "15.0.16.20"),
    (
        "FreeSWITCH-mod_sofia/1.10.7-release+git~20211024T163933Z~883d2cb662~64bit",
        "FreeSWITCH",
        "mod_sofia",
        "1.10.7",
    ),
    ("kamailio (5.6.3 (x86_64/linux))", "Kamailio", "", "5.6.3"),
    ("OpenSIPS (3.2.5 (x86_64/linux))", "OpenSIPS", "", "3.2.5"),
    ("3CXPhone 6.0.26523.0", "3CX", "", "6.0.26523.0"),
    ("JsSIP 3.9.0", "JsSIP", "", "3.9.0"),
    ("SIP.js/0.20.0 SIP.js", "SIP.js", "", "0.20.0"),
    ("Browser Phone 0.3.27 (SIPJS - 0.20.0)", "SIP.js", "Browser Phone", "0.3.27"),
    ("IM-client/OMA1.0 sipML5-v1.2016.03.04", "Doubango", "sipML5", "1.2016.03.04"),
    ("Twinkle/1.10.2", "Twinkle", "", "1.10.2"),
    ("Telephone 1.5.2", "Telephone", "", "1.5.2"),
    ("sipsak 0.9.8", "sipsak", "", "0.9.8"),
    ("Acme Router 9000/1.2.3", "other", "Acme Router 9000", "1.2.3"),
    ("whatever", "other", "whatever", ""),
    ("", "unnamed", "", ""),
];

#[test]
fn devices_are_what_they_call_themselves() {
    let mut wrong = Vec::new();
    for &(text, vendor, model, firmware) in SAMPLES {
        let Device { vendor: v, model: m, firmware: f } = device(text.as_bytes()).device;
        if (v, &*m, &*f) != (vendor, model, firmware) {
            wrong.push(format!("{text}: {v} | {m} | {f}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_is_sought_is_in_the_name_of_the_phone() {
    let named = device(b"Yealink SIP-T46S 66.85.0.5");
    assert_eq!(named.sought(0), Some("Yealink"));
    assert_eq!(named.sought(1), Some("Yealink SIP-T46S"));
    assert_eq!(named.sought(2), Some("Yealink SIP-T46S 66.85.0.5"));
    assert_eq!(named.sought(3), None);
    let named = device(b"PolycomVVX-VVX_600-UA/5.8.0.12848_0004f2abcdef");
    assert_eq!(named.sought(1), Some("PolycomVVX-VVX_600-UA"));
    assert_eq!(named.sought(2), Some("PolycomVVX-VVX_600-UA/5.8.0.12848"));
    assert_eq!(device(b"").sought(0), None);
    assert_eq!(device(b"whatever").sought(0), None);
    assert_eq!(device(b"whatever").sought(1), Some("whatever"));
}

#[test]
fn a_longer_beginning_is_not_hidden_behind_a_shorter_one() {
    for (nth, later) in VENDORS.iter().enumerate() {
        assert!(!later.begins.is_empty() && later.name.len() <= MODEL_BYTES_MAX);
        let hiding = VENDORS[..nth].iter().find(|earlier| begins(later.begins, earlier.begins));
        assert!(hiding.is_none(), "{} is never met", later.begins);
    }
}

#[test]
fn hostile_text_is_harmless() {
    let named = device(b"Yealink \x1b[2J<script>\r\nX 1.2.3\xff");
    assert!(named.text.bytes().all(|byte| matches!(byte, b' '..=b'~')));
    assert_eq!(named.device.vendor, "Yealink");
    for deep in ["(", "/", "-", "_", "v", "1.", "Polycom/ ", "Z ", "IM-client/OMA1.0 "] {
        let text = deep.repeat(200);
        assert!(device(text.as_bytes()).device.model.len() <= MODEL_BYTES_MAX);
    }
}

proptest! {
    #[test]
    fn whatever_is_sent_is_bounded_and_plain(
        begin in 0..VENDORS.len(),
        known in any::<bool>(),
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut text = if known { VENDORS[begin].begins.as_bytes().to_vec() } else { Vec::new() };
        text.extend(bytes);
        let named = device(&text);
        let Device { model, firmware, .. } = named.device;
        for text in [&*named.text, &*model, &*firmware] {
            prop_assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~')));
        }
        for level in 0..3 {
            if let Some(sought) = named.sought(level) {
                prop_assert!(named.text.contains(sought));
            }
        }
        prop_assert_eq!(device(named.text.as_bytes()), named, "reading it again changes nothing");
    }
}
