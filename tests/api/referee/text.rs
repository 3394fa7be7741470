//! Texts with a meaning: times, UUIDs, base64.

/// The canonical form of a UUID with hyphens.
pub(super) fn uuid(text: &str) -> Option<String> {
    let groups: Vec<&str> = text.split('-').collect();
    let hex = |group: &&str| group.bytes().all(|byte| byte.is_ascii_hexdigit());
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    (lengths == [8, 4, 4, 4, 12] && groups.iter().all(hex)).then(|| text.to_ascii_lowercase())
}

const DAY_MS: i64 = 86_400_000;

fn is_leap(year: i64) -> bool {
    (year % 4 == 0 && year % 100 != 0) || year % 400 == 0
}

fn month_days(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn year_days(year: i64) -> i64 {
    if is_leap(year) { 366 } else { 365 }
}

/// Milliseconds since 1970 of ISO 8601 text: a date, perhaps a time, perhaps a zone.
pub(super) fn milliseconds(text: &str) -> Option<i64> {
    if !text.is_ascii() || text.len() < 10 {
        return None;
    }
    let (date, rest) = text.split_at(10);
    let [year, month, day] = numbers(date, '-', &[4, 2, 2])?[..] else {
        return None;
    };
    if !(1..=12).contains(&month) || !(1..=month_days(year, month)).contains(&day) {
        return None;
    }
    let years: i64 = match year < 1970 {
        true => -(year..1970).map(year_days).sum::<i64>(),
        false => (1970..year).map(year_days).sum(),
    };
    let months: i64 = (1..month).map(|month| month_days(year, month)).sum();
    let midnight = (years + months + day - 1) * DAY_MS;
    if rest.is_empty() {
        return Some(midnight);
    }
    let rest = rest.strip_prefix(['T', ' '])?;
    let zone_at = rest.find(['Z', '+', '-']).unwrap_or(rest.len());
    let (clock, zone) = rest.split_at(zone_at);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let clock = match clock.len() {
        5 if fraction.is_empty() => format!("{clock}:00"),
        _ => clock.to_owned(),
    };
    let [hour, minute, second] = numbers(&clock, ':', &[2, 2, 2])?[..] else {
        return None;
    };
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let digits = format!("{fraction}000");
    let ms: i64 = digits.get(..3)?.parse().ok()?;
    let offset = match zone.split_at_checked(1) {
        None | Some(("Z", "")) => 0,
        Some((sign, zone)) => {
            let [hours, minutes] = numbers(zone, ':', &[2, 2])?[..] else {
                return None;
            };
            let minutes = hours * 60 + minutes;
            if sign == "-" { -minutes } else { minutes }
        }
    };
    let seconds = (hour * 60 + minute - offset) * 60 + second;
    Some(midnight + seconds * 1_000 + ms)
}

fn numbers(text: &str, between: char, lengths: &[usize]) -> Option<Vec<i64>> {
    let parts: Vec<&str> = text.split(between).collect();
    let fit = parts.len() == lengths.len()
        && parts.iter().zip(lengths).all(|(part, len)| {
            part.len() == *len && part.bytes().all(|byte| byte.is_ascii_digit())
        });
    let parse = |part: &&str| part.parse::<i64>().ok();
    fit.then(|| parts.iter().map(parse).collect())?
}

/// A time as it comes back: in UTC, with nine digits of a second.
pub(super) fn time(ms: i64) -> String {
    let (mut days, in_day) = (ms.div_euclid(DAY_MS), ms.rem_euclid(DAY_MS));
    let mut year = 1970;
    while days < 0 {
        year -= 1;
        days += year_days(year);
    }
    while days >= year_days(year) {
        days -= year_days(year);
        year += 1;
    }
    let mut month = 1;
    while days >= month_days(year, month) {
        days -= month_days(year, month);
        month += 1;
    }
    let (seconds, ms) = (in_day / 1_000, in_day % 1_000);
    format!(
        "{year:04}-{month:02}-{:02}T{:02}:{:02}:{:02}.{ms:03}000000Z",
        days + 1,
        seconds / 3_600,
        seconds / 60 % 60,
        seconds % 60,
    )
}

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub(super) fn to_base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(*group.get(at).unwrap_or(&0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * at)) as usize % 64];
            text.push(if at <= group.len() {
                letter.into()
            } else {
                '='
            });
        }
    }
    text
}

pub(super) fn from_base64(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let (mut bytes, mut bits, mut n_bits) = (Vec::new(), 0_u32, 0);
    for letter in text.trim_end_matches('=').bytes() {
        let at = LETTERS.iter().position(|known| *known == letter)?;
        bits = bits << 6 | u32::try_from(at).ok()?;
        n_bits += 6;
        if n_bits >= 8 {
            n_bits -= 8;
            bytes.push((bits >> n_bits) as u8);
            bits &= (1 << n_bits) - 1;
        }
    }
    Some(bytes)
}

#[test]
fn texts_mean_what_their_standards_say() {
    for (text, ms) in [
        ("1970-01-01", 0),
        ("2024-03-02", 1_709_337_600_000),
        ("2024-03-02T01:02:03.5", 1_709_341_323_500),
        ("2024-03-02T02:00:00+02:00", 1_709_337_600_000),
        ("1969-12-31T23:59:59.999Z", -1),
        ("0001-01-01", -62_135_596_800_000),
    ] {
        assert_eq!(milliseconds(text), Some(ms), "{text}");
        assert_eq!(milliseconds(&time(ms)), Some(ms), "{text}");
    }
    assert_eq!(time(-1), "1969-12-31T23:59:59.999000000Z");
    for (bytes, text) in [(&b"any"[..], "YW55"), (b"an", "YW4="), (b"a", "YQ==")] {
        assert_eq!(to_base64(bytes), text);
        assert_eq!(from_base64(text).as_deref(), Some(bytes));
    }
}
