//! Metrics as TensorBoard's events: protocol buffers (tensorflow/core/util/event.proto, framework/summary.proto) in records
//! that are framed by their length and checksums (tensorflow/core/lib/io/record_writer.h).

use serde_json::Value;

/// The first event of a file says which version it has.
pub(super) fn header() -> Vec<u8> {
    let mut event = Vec::new();
    double(&mut event, 1, 0.0);
    bytes(&mut event, 3, b"brain.Event:2");
    framed(&event)
}

/// A record as one event with a value for each of its numbers, called by kind and field, such as `step/loss`.
pub(super) fn event(record: &Value) -> Vec<u8> {
    let (Some(fields), Some(step)) = (record.as_object(), record.get("step").and_then(Value::as_u64)) else {
        return Vec::new();
    };
    let kind = record.get("kind").and_then(Value::as_str).unwrap_or_default();
    let mut summary = Vec::new();
    for (name, number) in fields.iter().filter(|(name, _)| *name != "step") {
        let Some(number) = number.as_f64() else { continue };
        let mut value = Vec::new();
        bytes(&mut value, 1, format!("{kind}/{name}").as_bytes());
        float(&mut value, 2, number as f32);
        bytes(&mut summary, 1, &value);
    }
    let mut event = Vec::new();
    double(&mut event, 1, step as f64);
    whole(&mut event, 2, step);
    bytes(&mut event, 5, &summary);
    framed(&event)
}

/// Length, its checksum, the data, its checksum.
fn framed(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [&length[..], &masked_crc(&length).to_le_bytes(), data, &masked_crc(data).to_le_bytes()].concat()
}

/// CRC-32C (Castagnoli), turned and moved so that the checksum of data that hold checksums is not one of them.
fn masked_crc(data: &[u8]) -> u32 {
    crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

fn crc32c(data: &[u8]) -> u32 {
    !data.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg()))
    })
}

// Fields of a protocol buffer: number and wire type, then the value.

fn whole(out: &mut Vec<u8>, field: u64, value: u64) {
    varint(out, field << 3);
    varint(out, value);
}

fn double(out: &mut Vec<u8>, field: u64, value: f64) {
    varint(out, field << 3 | 1);
    out.extend(value.to_le_bytes());
}

fn bytes(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    varint(out, field << 3 | 2);
    varint(out, value.len() as u64);
    out.extend(value);
}

fn float(out: &mut Vec<u8>, field: u64, value: f32) {
    varint(out, field << 3 | 5);
    out.extend(value.to_le_bytes());
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_rfc_3720() {
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn a_record_is_one_event_of_the_bytes_that_tensorboard_reads() {
        // By hand from event.proto: wall_time 300.0, step 300 in two bytes, a summary with one value.
        let data = event(&serde_json::json!({"kind": "step", "step": 300, "loss": 0.5}));
        let value = [&[0x0a, 9][..], b"step/loss", &[0x15, 0, 0, 0, 0x3f]].concat();
        let expected = [
            &[0x09][..],
            &300.0_f64.to_le_bytes(),
            &[0x10, 0xac, 0x02, 0x2a, value.len() as u8 + 2, 0x0a, value.len() as u8],
            &value,
        ]
        .concat();
        assert_eq!(data[..8], (expected.len() as u64).to_le_bytes());
        assert_eq!(data[12..data.len() - 4], expected);
        assert_eq!(data[data.len() - 4..], masked_crc(&expected).to_le_bytes());
    }
}
