//! Date (RFC 3261 20.17): the wall clock as a phone without one would set itself by.

use crate::sip::writer::{Full, Writer};
use crate::time::UnixTime;

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Writes `SIP-date`, in GMT as 20.17 demands: `Sat, 13 Nov 2010 23:29:00 GMT`. Past the year
/// 9999, which the grammar ends with, the last second of it.
///
/// # Errors
/// [`Full`].
pub fn write(out: &mut Writer<'_>, time: UnixTime) -> Result<(), Full> {
    const LAST: u64 = 253_402_300_799;
    let seconds = time.0.min(LAST);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    out.put(DAYS[(days % 7) as usize].as_bytes())?;
    out.put(b", ")?;
    two(out, day)?;
    out.put(b" ")?;
    out.put(MONTHS[month].as_bytes())?;
    out.put(b" ")?;
    out.number(year)?;
    out.put(b" ")?;
    two(out, second / 3600)?;
    out.put(b":")?;
    two(out, second / 60 % 60)?;
    out.put(b":")?;
    two(out, second % 60)?;
    out.put(b" GMT")
}

fn two(out: &mut Writer<'_>, number: u64) -> Result<(), Full> {
    out.put(&[b'0' + (number / 10) as u8, b'0' + (number % 10) as u8])
}

/// Year, month from 0, and day from 1 of a day counted from the first of 1970. Years are counted
/// from March, so that the leap day is the last of its year.
pub(crate) fn civil(days: u64) -> (u64, usize, u64) {
    const ERA: u64 = 146_097;
    let from_march_of_0 = days + 719_468;
    let (era, day) = (from_march_of_0 / ERA, from_march_of_0 % ERA);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (carry, month) = if month < 10 { (0, month + 2) } else { (1, month - 10) };
    (era * 400 + year + carry, month as usize, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(seconds: u64) -> String {
        let mut buffer = [0; 64];
        let mut out = Writer::new(&mut buffer);
        write(&mut out, UnixTime(seconds)).unwrap();
        String::from_utf8(out.written().to_vec()).unwrap()
    }

    #[test]
    fn rfc3261_20_17_dates_are_those_of_the_calendar_in_gmt() {
        assert_eq!(date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(date(1_289_690_940), "Sat, 13 Nov 2010 23:29:00 GMT");
        assert_eq!(date(951_782_399), "Mon, 28 Feb 2000 23:59:59 GMT");
        assert_eq!(date(951_782_400), "Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(date(951_868_800), "Wed, 01 Mar 2000 00:00:00 GMT");
        assert_eq!(date(4_107_542_399), "Sun, 28 Feb 2100 23:59:59 GMT");
        assert_eq!(date(4_107_542_400), "Mon, 01 Mar 2100 00:00:00 GMT");
        assert_eq!(date(u64::MAX), "Fri, 31 Dec 9999 23:59:59 GMT");
    }

    /// Day by day over eight hundred years: months and years follow each other as they should.
    #[test]
    fn every_day_follows_the_day_before() {
        let leap =
            |y: u64| y.is_multiple_of(4) && (!y.is_multiple_of(100) || y.is_multiple_of(400));
        let (mut year, mut month, mut day) = (1970, 0, 1);
        for days in 0..800 * 366 {
            assert_eq!(civil(days), (year, month, day), "{days}");
            let length = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
            day += 1;
            if day > length[month] {
                (month, day) = (month + 1, 1);
            }
            if month == 12 {
                (year, month) = (year + 1, 0);
            }
        }
    }
}
