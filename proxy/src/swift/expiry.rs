//! `X-Delete-At` and `X-Delete-After`; and `X-Open-Expired`, which reaches what has expired and is not deleted yet.

use anello_base::Timestamp;
use anello_storage::store::Expired;

use super::SwiftDoor;
use super::call::Call;
use super::fault::Fault;

/// Ten digits of seconds are all that Swift's form holds; later times are cut to it.
const SECOND_MAX: u64 = 9_999_999_999;

/// What an object that has expired is to a request.
pub(super) fn expired(door: &SwiftDoor, call: &Call) -> Expired {
    match door.config.allow_open_expired && call.is_set("x-open-expired") {
        true => Expired::Open,
        false => Expired::Absent,
    }
}

/// The second from which the object of this request is to be gone, where it says so.
pub(super) fn delete_at(call: &Call) -> Result<Option<u64>, Fault> {
    let now = call.now.seconds();
    let (second, is_past, is_no_integer) = match (call.header("x-delete-after"), call.header("x-delete-at")) {
        (Some(after), _) => {
            let after = after.parse::<i64>().ok();
            let second = after.map(|after| now.saturating_add_signed(after));
            (second, "X-Delete-After in past", "Non-integer X-Delete-After")
        }
        (None, Some(at)) => (seconds(at), "X-Delete-At in past", "Non-integer X-Delete-At"),
        (None, None) => return Ok(None),
    };
    let second = second.ok_or_else(|| Fault::invalid(is_no_integer))?.min(SECOND_MAX);
    if Timestamp::from_seconds(second) <= call.now {
        return Err(Fault::invalid(is_past));
    }
    Ok(Some(second))
}

/// Seconds since 1970; more than 64 bits hold is as late as it gets.
fn seconds(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(SECOND_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swift::testing::call;

    #[test]
    fn only_a_time_to_come_is_taken() {
        let check = |headers: &[(&str, &str)], want: Result<Option<u64>, u16>| {
            let mut call = call("PUT", "/v1/a/c/o", headers);
            call.now = Timestamp::from_seconds(1000);
            assert_eq!(delete_at(&call).map_err(|fault| fault.code()), want, "{headers:?}");
        };
        check(&[], Ok(None));
        check(&[("x-delete-at", "1001")], Ok(Some(1001)));
        check(&[("x-delete-after", "60")], Ok(Some(1060)));
        check(&[("x-delete-after", "60"), ("x-delete-at", "5000")], Ok(Some(1060)));
        check(&[("x-delete-at", "99999999999999")], Ok(Some(SECOND_MAX)));
        check(&[("x-delete-at", "9999999999999999999999999")], Ok(Some(SECOND_MAX)));
        check(&[("x-delete-at", "1000")], Err(400));
        check(&[("x-delete-at", "tomorrow")], Err(400));
        check(&[("x-delete-at", "")], Err(400));
        check(&[("x-delete-after", "0")], Err(400));
        check(&[("x-delete-after", "-5")], Err(400));
        check(&[("x-delete-after", "1.5")], Err(400));
    }
}
