//! Pictures for tests.

use std::io::Cursor;

use image::{
    Delay, DynamicImage, ExtendedColorType, Frame, ImageEncoder, ImageFormat, Rgb, RgbImage, Rgba,
    RgbaImage,
    codecs::{gif::GifEncoder, jpeg::JpegEncoder, png::PngEncoder},
};

/// Four quarters: red and green above, blue and white below.
pub(crate) fn quarters(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        match (x < width / 2, y < height / 2) {
            (true, true) => Rgb([255, 0, 0]),
            (false, true) => Rgb([0, 255, 0]),
            (true, false) => Rgb([0, 0, 255]),
            (false, false) => Rgb([255, 255, 255]),
        }
    })
}

pub(crate) fn encode(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

pub(crate) fn opaque(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
    encode(&DynamicImage::ImageRgb8(quarters(width, height)), format)
}

pub(crate) fn transparent(width: u32, height: u32) -> Vec<u8> {
    let image = RgbaImage::from_fn(width, height, |x, _| Rgba([10, 200, 30, (x % 256) as u8]));
    encode(&DynamicImage::ImageRgba8(image), ImageFormat::Png)
}

/// A JPEG that a camera held upright would write: turned, with a note of how.
pub(crate) fn turned_jpeg(width: u32, height: u32, orientation: u8) -> Vec<u8> {
    let mut exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.extend_from_slice(&[orientation, 0, 0, 0, 0, 0, 0]);
    let mut bytes = Vec::new();
    let mut encoder = JpegEncoder::new(&mut bytes);
    encoder.set_exif_metadata(exif).unwrap();
    let image = quarters(width, height);
    encoder
        .write_image(image.as_raw(), width, height, ExtendedColorType::Rgb8)
        .unwrap();
    bytes
}

pub(crate) fn moving_gif(width: u32, height: u32, frames: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new_with_speed(&mut bytes, 30);
    for number in 0..frames {
        let colour = Rgba([(number * 40 % 256) as u8, 90, 120, 255]);
        let image = RgbaImage::from_pixel(width, height, colour);
        let delay = Delay::from_numer_denom_ms(100, 1);
        encoder
            .encode_frame(Frame::from_parts(image, 0, 0, delay))
            .unwrap();
    }
    drop(encoder);
    bytes
}

/// A PNG whose header claims a size that the file does not have.
pub(crate) fn boastful_png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    PngEncoder::new(&mut bytes)
        .write_image(&[0; 3], 1, 1, ExtendedColorType::Rgb8)
        .unwrap();
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    let checksum = crc32(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0xedb8_8320
            } else {
                crc >> 1
            };
        }
    }
    !crc
}

/// A WebP with an EXIF chunk that claims nearly four gigabytes.
pub(crate) fn boastful_webp() -> Vec<u8> {
    let mut bytes = opaque(40, 40, ImageFormat::WebP);
    let picture = bytes.split_off(12);
    bytes.extend_from_slice(b"VP8X\x0a\0\0\0\x08\0\0\0\x27\0\0\x27\0\0");
    bytes.extend_from_slice(&picture);
    bytes.extend_from_slice(b"EXIF\xf0\xff\xff\xff");
    bytes[4..8].copy_from_slice(&[0xfe, 0xff, 0xff, 0xff]);
    bytes
}
