//! Sizes, durations, numbers, ports and prefixes as a manifest writes them.
//!
//! Each function takes the text and gives the value, or what is wrong and what to write. Nothing is
//! guessed: a size needs its unit, a number its plain decimal spelling.

use std::net::IpAddr;
use std::time::Duration;

use crate::policy::{Cidr, CidrError, PortRange, Protocol};

/// What is wrong, and what to write.
pub(super) type Wrong = (String, String);

fn wrong<T>(message: impl Into<String>, advice: impl Into<String>) -> Result<T, Wrong> {
    Err((message.into(), advice.into()))
}

/// Units of sizes. `K`, `M`, `G` alone mean 1000 to some and 1024 to others.
const SIZES: [(&str, u64); 10] = [
    ("B", 1),
    ("kB", 1000),
    ("KB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// Least memory: below it no program starts.
const LEAST_MEMORY: u64 = 1_000_000;
/// Most memory: what a 64-bit machine can address.
const MOST_MEMORY: u64 = 1 << 57;

/// Most bytes to be sent: counting cannot run over before.
const MOST_BYTES_OUT: u64 = 1 << 62;

/// Splits `512MB` into its number and its unit.
fn number_and_unit(text: &str) -> (&str, &str) {
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(split)
}

/// Decimal digits without a leading zero, which YAML 1.1 takes for octal.
fn decimal(text: &str) -> Option<u64> {
    let canonical = text == "0" || !text.starts_with('0');
    (canonical && !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
        .then(|| text.parse().ok())?
}

/// `512MB`, `1GiB`; larger ones than `u64` holds as its largest.
pub(super) fn size(text: &str) -> Result<u64, Wrong> {
    const ADVICE: &str = "write a whole number and a unit: 512MB (10^6) or 512MiB (2^20)";
    let (number, unit) = number_and_unit(text);
    let Some(number) = decimal(number) else {
        return wrong(
            format!("{} is no size", crate::diagnostic::quote(text)),
            ADVICE,
        );
    };
    if unit.is_empty() {
        return wrong("the size has no unit", ADVICE);
    }
    let Some((_, factor)) = SIZES
        .iter()
        .find(|(name, _)| *name == unit.trim_start_matches(' '))
    else {
        return wrong(
            format!("{} is no unit of size", crate::diagnostic::quote(unit)),
            "use B, kB, MB, GB, TB (powers of 1000) or KiB, MiB, GiB, TiB (powers of 1024)",
        );
    };
    Ok(number.saturating_mul(*factor))
}

/// A size of memory.
pub(super) fn memory(text: &str) -> Result<u64, Wrong> {
    match size(text)? {
        bytes if bytes < LEAST_MEMORY => wrong(
            "the size is too small for any program",
            "write at least 1MB",
        ),
        bytes if bytes <= MOST_MEMORY => Ok(bytes),
        _ => wrong(
            "the size is above what a machine can have",
            "write less, or leave `memory` out",
        ),
    }
}

/// How much may be sent.
pub(super) fn bytes_out(text: &str) -> Result<u64, Wrong> {
    match size(text)? {
        0 => wrong("nothing at all could be sent", "leave `network.allow` out: then nothing is reached"),
        bytes if bytes <= MOST_BYTES_OUT => Ok(bytes),
        _ => wrong("the number is above what can be counted", "write less, or leave `max_bytes_out` out"),
    }
}

const DURATIONS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];
/// Longest run: a year of 366 days, in milliseconds.
const LONGEST: u64 = 366 * 86_400_000;

/// `300s`, `10m`, `1h30m`.
pub(super) fn duration(text: &str) -> Result<Duration, Wrong> {
    const ADVICE: &str = "write a whole number and a unit: 300s, 10m, 1h30m, 2d";
    let mut rest = text;
    let mut total = 0u64;
    let mut least = u64::MAX;
    while !rest.is_empty() {
        let (number, tail) = number_and_unit(rest);
        let end = tail
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(tail.len());
        let (unit, after) = tail.split_at(end);
        let Some(number) = decimal(number) else {
            return wrong(
                format!("{} is no duration", crate::diagnostic::quote(text)),
                ADVICE,
            );
        };
        if unit.is_empty() {
            return wrong("the duration has no unit", ADVICE);
        }
        let Some((_, factor)) = DURATIONS.iter().find(|(name, _)| *name == unit) else {
            return wrong(
                format!("{} is no unit of time", crate::diagnostic::quote(unit)),
                "use ms, s, m, h or d",
            );
        };
        if *factor >= least {
            return wrong(
                "the units of a duration go from large to small, each once",
                ADVICE,
            );
        }
        least = *factor;
        let Some(sum) = number
            .checked_mul(*factor)
            .and_then(|n| n.checked_add(total))
            .filter(|n| *n <= LONGEST)
        else {
            return wrong(
                "the duration is longer than a year",
                "write less, or leave it out",
            );
        };
        total = sum;
        rest = after;
    }
    if total == 0 {
        return wrong("the duration is zero", ADVICE);
    }
    Ok(Duration::from_millis(total))
}

/// Most CPUs of one machine.
const MOST_CPUS: u32 = 8192;

/// `0.5` is half a CPU, `2` two of them. In thousandths.
pub(super) fn cpu(text: &str) -> Result<u32, Wrong> {
    const ADVICE: &str = "write CPUs as a decimal number: 0.5 is half a CPU, 2 is two";
    if text.ends_with('%') {
        return wrong(
            "a share in percent",
            "write CPUs as a decimal number: 0.5 is half a CPU, so 50% is 0.5",
        );
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let Some(cpus) = decimal(whole) else {
        return wrong(
            format!("{} is no number of CPUs", crate::diagnostic::quote(text)),
            ADVICE,
        );
    };
    if fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return wrong(
            format!("{} is no number of CPUs", crate::diagnostic::quote(text)),
            ADVICE,
        );
    }
    if fraction.trim_end_matches('0').len() > 3 {
        return wrong(
            "more than three digits behind the point",
            "write thousandths at the finest: 0.125",
        );
    }
    let millis: String = fraction.chars().chain("000".chars()).take(3).collect();
    let Some(fraction) = millis.parse::<u32>().ok() else {
        return wrong(
            format!("{} is no number of CPUs", crate::diagnostic::quote(text)),
            ADVICE,
        );
    };
    let Some(whole) = u32::try_from(cpus).ok().filter(|n| *n <= MOST_CPUS) else {
        return wrong(format!("more than {MOST_CPUS} CPUs"), ADVICE);
    };
    match whole * 1000 + fraction {
        // The kernel's quota is at least 1 ms in a period of 100 ms.
        0..10 => wrong("less than a hundredth of a CPU", "write at least 0.01"),
        millis => Ok(millis),
    }
}

/// Most tasks: the kernel's own bound (`PID_MAX_LIMIT`).
const MOST_PIDS: u64 = 4_194_304;

/// A number of tasks.
pub(super) fn pids(text: &str) -> Result<u32, Wrong> {
    let number = decimal(text)
        .filter(|n| (1..=MOST_PIDS).contains(n))
        .and_then(|n| u32::try_from(n).ok());
    number.ok_or_else(|| {
        (
            format!("{} is no number of tasks", crate::diagnostic::quote(text)),
            format!("write a whole number from 1 to {MOST_PIDS}: 256"),
        )
    })
}

/// `443` or `6000-6100`.
pub(super) fn ports(text: &str) -> Result<PortRange, Wrong> {
    let port = |text: &str| {
        decimal(text)
            .filter(|n| *n != 0)
            .and_then(|n| u16::try_from(n).ok())
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (Some(first), Some(last)) = (port(first.trim()), port(last.trim())) else {
        return wrong(
            format!(
                "{} is no port or range of ports",
                crate::diagnostic::quote(text)
            ),
            "write ports from 1 to 65535: 443 or \"6000-6100\"",
        );
    };
    if first > last {
        return wrong(
            format!("the range {first}-{last} is upside down"),
            format!("write \"{last}-{first}\""),
        );
    }
    Ok(PortRange { first, last })
}

/// What is listened at: an address or a network; `0.0.0.0` is all of IPv4, `::` all of both, as it is for a socket.
pub(super) fn listened(text: &str) -> Result<Vec<Cidr>, Wrong> {
    let all4 = || cidr("0.0.0.0/0");
    match text {
        "0.0.0.0" => return Ok(vec![all4()?]),
        "::" | "::/0" => return Ok(vec![all4()?, cidr("::/0")?]),
        _ => {}
    }
    let net = cidr(text)?;
    // Listening at the first of them is listening at every address.
    if net.address().is_unspecified() && net.length() != 0 {
        return wrong(format!("{net} has an address that stands for all others"), "write 0.0.0.0 for all of IPv4, :: for all of both");
    }
    Ok(vec![net])
}

/// `tcp` or `udp`.
pub(super) fn protocol(text: &str) -> Result<Protocol, Wrong> {
    match text {
        "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        _ => wrong(
            format!(
                "{} is no protocol of the language",
                crate::diagnostic::quote(text)
            ),
            "write tcp or udp, or leave `protocol` out to mean both",
        ),
    }
}

/// `10.20.0.0/16`, `192.0.2.7`, `2001:db8::/32`.
pub(super) fn cidr(text: &str) -> Result<Cidr, Wrong> {
    const ADVICE: &str =
        "write an address and a prefix length: 192.0.2.0/24, 192.0.2.7 or 2001:db8::/32";
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let Ok(address) = address.parse::<IpAddr>() else {
        let name = address.contains(|c: char| c.is_ascii_alphabetic()) && !address.contains(':');
        let advice = if name {
            "`cidr` takes addresses; write a name as {host: \"packages.example.org\", ports: [443]}"
        } else {
            ADVICE
        };
        return wrong(
            format!("{} is no address", crate::diagnostic::quote(text)),
            advice,
        );
    };
    if let IpAddr::V6(v6) = address
        && let Some(v4) = v6.to_ipv4_mapped()
    {
        return wrong(
            "an IPv4 address in IPv6 spelling",
            format!("write the IPv4 address, which holds for both spellings: {v4}"),
        );
    }
    let most: u8 = if address.is_ipv4() { 32 } else { 128 };
    let length = match length {
        None => most,
        Some(text) => match decimal(text).and_then(|n| u8::try_from(n).ok()) {
            Some(length) => length,
            None => {
                return wrong(
                    format!("{} is no prefix length", crate::diagnostic::quote(text)),
                    format!("write a number from 0 to {most} behind the `/`"),
                );
            }
        },
    };
    match Cidr::new(address, length) {
        Ok(cidr) if length == most && address.is_unspecified() => wrong(
            format!("{cidr} is no destination: connecting to it reaches the host itself"),
            "write 127.0.0.1 or ::1; every address is 0.0.0.0/0 and ::/0",
        ),
        Ok(cidr) => Ok(cidr),
        Err(CidrError::Length(most)) => wrong(
            format!("the prefix length is above {most}"),
            format!("write a number from 0 to {most} behind the `/`"),
        ),
        Err(CidrError::HostBits(network)) => wrong(
            format!(
                "{} has bits set below its prefix",
                crate::diagnostic::quote(text)
            ),
            format!("write {network} for the whole network, or {address} for the one address"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::{bytes_out, cidr, cpu, duration, memory, pids, ports};
    use std::time::Duration;

    #[test]
    fn sizes_mean_what_their_units_say() {
        for (text, bytes) in [
            ("512MB", 512_000_000),
            ("512MiB", 512 << 20),
            ("1GiB", 1 << 30),
            ("2 GB", 2_000_000_000),
            ("4096000B", 4_096_000),
        ] {
            assert_eq!(memory(text), Ok(bytes), "{text}");
        }
        assert_eq!(bytes_out("1B"), Ok(1));
        for bad in ["0B", "0", "4611687TB", "1"] {
            assert!(bytes_out(bad).is_err(), "{bad}");
        }
        for bad in [
            "512",
            "512M",
            "0MB",
            "1.5GB",
            "MB",
            "-1MB",
            "010MB",
            "99999999999TiB",
            "18446744073709551616B",
            "512mb",
            "",
            "1e9B",
        ] {
            assert!(memory(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_have_units() {
        for (text, seconds) in [
            ("300s", 300),
            ("10m", 600),
            ("1h", 3600),
            ("1h30m", 5400),
            ("2d", 172_800),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(duration("1500ms"), Ok(Duration::from_millis(1500)));
        for bad in [
            "300",
            "",
            "s",
            "0s",
            "1m1h",
            "1s1s",
            "1.5h",
            "-1s",
            "5 minutes",
            "99999999999999999999s",
            "400d",
            "08s",
        ] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn half_a_cpu_is_five_hundred_thousandths() {
        for (text, millis) in [
            ("0.5", 500),
            ("2", 2000),
            ("0.01", 10),
            ("1.125", 1125),
            ("1.5000", 1500),
        ] {
            assert_eq!(cpu(text), Ok(millis), "{text}");
        }
        for bad in [
            "0", "0.0", "0.001", "50%", "-1", ".5", "1.", "1e3", ".inf", "0.12345", "99999", "01",
            "",
        ] {
            assert!(cpu(bad).is_err(), "{bad}");
        }
        assert!(
            pids("256").is_ok()
                && pids("0").is_err()
                && pids("-1").is_err()
                && pids("4194305").is_err()
        );
    }

    #[test]
    fn ports_are_decimal_and_ranges_ascend() {
        assert_eq!(ports("443").map(|p| (p.first, p.last)), Ok((443, 443)));
        assert_eq!(
            ports("6000-6100").map(|p| (p.first, p.last)),
            Ok((6000, 6100))
        );
        for bad in [
            "0", "65536", "0443", "0x50", "9-8", "1-2-3", "", "-", "http",
        ] {
            assert!(ports(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn prefixes_are_networks() {
        for (text, shown) in [
            ("10.20.0.0/16", "10.20.0.0/16"),
            ("192.0.2.7", "192.0.2.7/32"),
            ("2001:db8::1", "2001:db8::1/128"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(
                cidr(text).map(|c| c.to_string()),
                Ok(shown.to_owned()),
                "{text}"
            );
        }
        for bad in [
            "10.20.0.1/16",
            "10.0.0.0/33",
            "10.0.0.0/08",
            "10.0.0/8",
            "010.0.0.1",
            "::ffff:10.0.0.1",
            "0.0.0.0",
            "::",
            "example.com",
            "fe80::1%eth0",
            "1.2.3.4/",
            "/8",
            "",
        ] {
            assert!(cidr(bad).is_err(), "{bad}");
        }
        assert!(cidr("10.20.0.1/16").is_err_and(|(_, advice)| advice.contains("10.20.0.0/16")));
    }
}
