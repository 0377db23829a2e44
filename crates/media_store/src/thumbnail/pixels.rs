//! Decoding, making smaller, encoding.
//!
//! Whatever the bytes are, this ends in a thumbnail or an error: the size is checked before
//! anything is decoded, decoders read through a reader with a deadline, and should one panic, that
//! is an error too.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use fast_image_resize::{
    FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer,
    images::{Image, ImageRef},
};
use image::{
    AnimationDecoder, ColorType, DynamicImage, ExtendedColorType, Frame, Frames, ImageDecoder,
    ImageEncoder, ImageError, ImageFormat, Limits, RgbaImage,
    codecs::{
        gif::{GifDecoder, GifEncoder, Repeat},
        jpeg::{JpegDecoder, JpegEncoder},
        png::{PngDecoder, PngEncoder},
        webp::WebPDecoder,
    },
    metadata::Orientation,
};

use super::{Size, Thumbnail, ThumbnailAnswer, ThumbnailError, ThumbnailLimits};

/// How many frames a moving thumbnail may have; a longer animation stands still.
pub const FRAMES_MAX: usize = 250;
/// How many chunks a WebP file may have.
const WEBP_CHUNKS_MAX: usize = 10_000;
/// The longest side of an image: what makes one smaller needs memory for each pixel of a side.
const SIDE_PIXELS_MAX: u32 = 65_535;
/// Images with more pixels are decoded one at a time.
const LARGE_IMAGE_PIXELS: u64 = 8_000_000;
/// The quality of JPEG thumbnails.
const JPEG_QUALITY: u8 = 82;
/// From 1 (best colours) to 30 (fastest).
const GIF_SPEED: i32 = 15;

/// Who decodes a large image holds this, so that only one is in memory at a time.
#[derive(Debug, Default)]
pub(super) struct LargeImageTurn(Mutex<()>);

/// Makes the thumbnail of the image in `file`.
pub(super) fn make(
    file: File,
    size: Size,
    animated: bool,
    limits: &ThumbnailLimits,
    turn: &LargeImageTurn,
) -> Result<ThumbnailAnswer, ThumbnailError> {
    let work = || make_unguarded(file, size, animated, limits, turn);
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(ThumbnailError::from),
        Err(_) => Err(ThumbnailError::NotAnImage),
    }
}

/// Why an image cannot be made smaller.
#[derive(Debug)]
enum Failed {
    NotAnImage,
    TooLarge,
}

impl From<Failed> for ThumbnailError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::NotAnImage => Self::NotAnImage,
            Failed::TooLarge => Self::TooLarge,
        }
    }
}

impl From<ImageError> for Failed {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::Limits(_) => Self::TooLarge,
            ImageError::IoError(error) if error.kind() == io::ErrorKind::TimedOut => Self::TooLarge,
            ImageError::Decoding(_)
            | ImageError::Encoding(_)
            | ImageError::Parameter(_)
            | ImageError::Unsupported(_)
            | ImageError::IoError(_) => Self::NotAnImage,
        }
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::from(ImageError::IoError(error))
    }
}

fn make_unguarded(
    file: File,
    size: Size,
    animated: bool,
    limits: &ThumbnailLimits,
    turn: &LargeImageTurn,
) -> Result<ThumbnailAnswer, Failed> {
    let mut source = Source::new(file, limits);
    let mut head = [0; 16];
    let length = read_head(&mut source, &mut head)?;
    let format = image::guess_format(&head[..length]).map_err(|_| Failed::NotAnImage)?;
    if format == ImageFormat::WebP {
        check_webp_chunks(&mut source)?;
    }
    if animated && let Some(answer) = make_moving(format, &mut source, size, limits)? {
        return Ok(answer);
    }
    source.rewind()?;
    make_still(format, source, size, limits, turn)
}

fn read_head(source: &mut Source, head: &mut [u8]) -> Result<usize, Failed> {
    let mut length = 0;
    while length < head.len() {
        match source.read(&mut head[length..])? {
            0 => break,
            more => length += more,
        }
    }
    source.rewind()?;
    Ok(length)
}

/// Refuses a WebP file with a chunk that claims more bytes than the file has: the decoder would
/// allocate them.
fn check_webp_chunks(source: &mut Source) -> Result<(), Failed> {
    /// Where the first chunk begins.
    const CHUNKS_AT: u64 = 12;
    /// The name and the size of a chunk, in bytes.
    const CHUNK_HEAD_BYTES: u64 = 8;
    let length = source.seek(SeekFrom::End(0))?;
    let mut at = CHUNKS_AT;
    let mut chunks = 0;
    while at + CHUNK_HEAD_BYTES <= length {
        source.seek(SeekFrom::Start(at + 4))?;
        let mut size = [0; 4];
        source.read_exact(&mut size)?;
        let size = u64::from(u32::from_le_bytes(size));
        at += CHUNK_HEAD_BYTES + size + size % 2;
        chunks += 1;
        // The byte that makes the length even may be missing at the end.
        if at > length + 1 || chunks > WEBP_CHUNKS_MAX {
            return Err(Failed::NotAnImage);
        }
    }
    source.rewind()?;
    Ok(())
}

fn decoder_limits(limits: &ThumbnailLimits) -> Limits {
    let mut decoder_limits = Limits::default();
    decoder_limits.max_alloc = Some(limits.memory_bytes_max);
    decoder_limits
}

/// Refuses an image before it is decoded.
fn check_pixels(dimensions: (u32, u32), limits: &ThumbnailLimits) -> Result<(), Failed> {
    let pixels = u64::from(dimensions.0) * u64::from(dimensions.1);
    match pixels {
        0 => Err(Failed::NotAnImage),
        pixels if pixels > limits.pixels_max => Err(Failed::TooLarge),
        _ if dimensions.0.max(dimensions.1) > SIDE_PIXELS_MAX => Err(Failed::TooLarge),
        _ => Ok(()),
    }
}

/// Refuses an image whose pixels would take too much memory, as they are and as 8 bits a channel.
fn check_memory(decoder: &impl ImageDecoder, limits: &ThumbnailLimits) -> Result<(), Failed> {
    let converted = match decoder.color_type() {
        ColorType::Rgb8 | ColorType::Rgba8 => 0,
        _ => u64::from(decoder.dimensions().0) * u64::from(decoder.dimensions().1) * 4,
    };
    let needed = decoder.total_bytes().saturating_add(converted);
    if needed > limits.memory_bytes_max {
        Err(Failed::TooLarge)
    } else {
        Ok(())
    }
}

// ── still pictures ──

fn make_still(
    format: ImageFormat,
    source: Source,
    size: Size,
    limits: &ThumbnailLimits,
    turn: &LargeImageTurn,
) -> Result<ThumbnailAnswer, Failed> {
    match format {
        ImageFormat::Png => {
            let decoder = PngDecoder::with_limits(source, decoder_limits(limits))?;
            let moves = decoder.is_apng()?;
            still_from(decoder, moves, size, limits, turn)
        }
        ImageFormat::Jpeg => still_from(JpegDecoder::new(source)?, false, size, limits, turn),
        // A GIF is taken for an animation without counting its frames.
        ImageFormat::Gif => still_from(GifDecoder::new(source)?, true, size, limits, turn),
        ImageFormat::WebP => {
            let decoder = WebPDecoder::new(source)?;
            let moves = decoder.has_animation();
            still_from(decoder, moves, size, limits, turn)
        }
        _ => Err(Failed::NotAnImage),
    }
}

/// What does not `move` and is small enough stays as it is.
fn still_from(
    mut decoder: impl ImageDecoder,
    moves: bool,
    size: Size,
    limits: &ThumbnailLimits,
    turn: &LargeImageTurn,
) -> Result<ThumbnailAnswer, Failed> {
    check_pixels(decoder.dimensions(), limits)?;
    check_memory(&decoder, limits)?;
    decoder.set_limits(decoder_limits(limits))?;
    // A picture with damaged metadata is still a picture.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let size = if is_turned(orientation) {
        size.turned()
    } else {
        size
    };
    let (width, height) = decoder.dimensions();
    let is_large = u64::from(width) * u64::from(height) > LARGE_IMAGE_PIXELS;
    let _turn = is_large.then(|| turn.0.lock().unwrap_or_else(PoisonError::into_inner));
    let image = DynamicImage::from_decoder(decoder)?;
    if !moves && size.holds(width, height) {
        return Ok(ThumbnailAnswer::Original);
    }
    let image = if image.color().has_alpha() {
        DynamicImage::ImageRgba8(image.into_rgba8())
    } else {
        DynamicImage::ImageRgb8(image.into_rgb8())
    };
    let mut small = resize(&image, size)?;
    drop(image);
    small.apply_orientation(orientation);
    Ok(ThumbnailAnswer::Made(encode_still(small)?))
}

fn is_turned(orientation: Orientation) -> bool {
    match orientation {
        Orientation::Rotate90
        | Orientation::Rotate270
        | Orientation::Rotate90FlipH
        | Orientation::Rotate270FlipH => true,
        Orientation::NoTransforms
        | Orientation::Rotate180
        | Orientation::FlipHorizontal
        | Orientation::FlipVertical => false,
    }
}

/// Makes an RGB or RGBA picture smaller.
fn resize(image: &DynamicImage, size: Size) -> Result<DynamicImage, Failed> {
    let pixel_type = match image {
        DynamicImage::ImageRgb8(_) => PixelType::U8x3,
        DynamicImage::ImageRgba8(_) => PixelType::U8x4,
        _ => return Err(Failed::NotAnImage),
    };
    let (width, height) = (image.width(), image.height());
    let cut = size.cut(width, height);
    let source = ImageRef::new(width, height, image.as_bytes(), pixel_type)
        .map_err(|_| Failed::NotAnImage)?;
    let mut small = Image::new(cut.width, cut.height, pixel_type);
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3))
        .crop(
            f64::from(cut.part.left),
            f64::from(cut.part.top),
            f64::from(cut.part.width),
            f64::from(cut.part.height),
        );
    Resizer::new()
        .resize(&source, &mut small, &options)
        .map_err(|_| Failed::NotAnImage)?;
    let bytes = small.into_vec();
    let small = if pixel_type == PixelType::U8x3 {
        image::RgbImage::from_raw(cut.width, cut.height, bytes).map(DynamicImage::ImageRgb8)
    } else {
        RgbaImage::from_raw(cut.width, cut.height, bytes).map(DynamicImage::ImageRgba8)
    };
    small.ok_or(Failed::NotAnImage)
}

/// As PNG if anything shines through, else as JPEG.
fn encode_still(image: DynamicImage) -> Result<Thumbnail, Failed> {
    let (width, height) = (image.width(), image.height());
    let shines_through = match &image {
        DynamicImage::ImageRgba8(pixels) => pixels.pixels().any(|pixel| pixel.0[3] != u8::MAX),
        _ => false,
    };
    let mut bytes = Vec::new();
    let content_type = if shines_through {
        PngEncoder::new(&mut bytes).write_image(
            image.as_bytes(),
            width,
            height,
            ExtendedColorType::Rgba8,
        )?;
        "image/png"
    } else {
        let image = image.into_rgb8();
        JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY).write_image(
            image.as_raw(),
            width,
            height,
            ExtendedColorType::Rgb8,
        )?;
        "image/jpeg"
    };
    Ok(Thumbnail {
        bytes: Bytes::from(bytes),
        content_type,
        width,
        height,
    })
}

// ── moving pictures ──

/// `None` if it does not move, or for too long.
fn make_moving(
    format: ImageFormat,
    source: &mut Source,
    size: Size,
    limits: &ThumbnailLimits,
) -> Result<Option<ThumbnailAnswer>, Failed> {
    let mut dimensions = (0, 0);
    let mut prepare = |decoder: &mut dyn ImageDecoderObject| {
        dimensions = decoder.size();
        check_pixels(dimensions, limits)?;
        decoder.limit(decoder_limits(limits))
    };
    let frames = match format {
        ImageFormat::Gif => {
            let mut decoder = GifDecoder::new(source)?;
            prepare(&mut decoder)?;
            decoder.into_frames()
        }
        ImageFormat::WebP => {
            let mut decoder = WebPDecoder::new(source)?;
            if !decoder.has_animation() {
                return Ok(None);
            }
            prepare(&mut decoder)?;
            decoder.into_frames()
        }
        ImageFormat::Png => {
            let mut decoder = PngDecoder::with_limits(source, decoder_limits(limits))?;
            if !decoder.is_apng()? {
                return Ok(None);
            }
            prepare(&mut decoder)?;
            decoder.apng()?.into_frames()
        }
        _ => return Ok(None),
    };
    if size.holds(dimensions.0, dimensions.1) {
        let moves = frames.take(2).filter(Result::is_ok).count() > 1;
        return Ok(moves.then_some(ThumbnailAnswer::Original));
    }
    Ok(shrink_frames(frames, dimensions, size, limits)?.map(ThumbnailAnswer::Made))
}

/// What is asked of each decoder before it decodes.
trait ImageDecoderObject {
    fn size(&self) -> (u32, u32);
    fn limit(&mut self, limits: Limits) -> Result<(), Failed>;
}

impl<D: ImageDecoder> ImageDecoderObject for D {
    fn size(&self) -> (u32, u32) {
        self.dimensions()
    }

    fn limit(&mut self, limits: Limits) -> Result<(), Failed> {
        Ok(self.set_limits(limits)?)
    }
}

/// All frames, made smaller, one at a time; `None` if there is only one, or there are too many.
/// Damage after the first frames ends the animation there.
fn shrink_frames(
    frames: Frames<'_>,
    dimensions: (u32, u32),
    size: Size,
    limits: &ThumbnailLimits,
) -> Result<Option<Thumbnail>, Failed> {
    let pixels = u64::from(dimensions.0) * u64::from(dimensions.1);
    let affordable = limits.animation_pixels_max / pixels.max(1);
    let frames_max = usize::try_from(affordable)
        .unwrap_or(usize::MAX)
        .min(FRAMES_MAX);
    let (mut width, mut height) = (0, 0);
    let mut count = 0;
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new_with_speed(&mut bytes, GIF_SPEED);
    encoder.set_repeat(Repeat::Infinite)?;
    for frame in frames {
        if count >= frames_max {
            return Ok(None);
        }
        let frame: Frame = match frame {
            Ok(frame) => frame,
            Err(_) if count > 1 => break,
            Err(error) => return Err(error.into()),
        };
        let delay = frame.delay();
        let small = resize(&DynamicImage::ImageRgba8(frame.into_buffer()), size)?.into_rgba8();
        (width, height) = small.dimensions();
        encoder.encode_frame(Frame::from_parts(small, 0, 0, delay))?;
        count += 1;
    }
    drop(encoder);
    let bytes = Bytes::from(bytes);
    let thumbnail = Thumbnail {
        bytes,
        content_type: "image/gif",
        width,
        height,
    };
    Ok((count > 1).then_some(thumbnail))
}

// ── the file ──

/// A file that can be read until its time is over.
#[derive(Debug)]
struct Source {
    file: BufReader<File>,
    deadline: Instant,
}

impl Source {
    fn new(file: File, limits: &ThumbnailLimits) -> Self {
        let deadline = now() + Duration::from_millis(limits.time_ms_max);
        Self {
            file: BufReader::new(file),
            deadline,
        }
    }

    fn check_deadline(&self) -> io::Result<()> {
        if now() > self.deadline {
            Err(io::ErrorKind::TimedOut.into())
        } else {
            Ok(())
        }
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "how long a decoder runs depends on the machine, not on anybody's rules"
)]
fn now() -> Instant {
    Instant::now()
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.check_deadline()?;
        self.file.read(buffer)
    }
}

impl BufRead for Source {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.check_deadline()?;
        self.file.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.file.consume(amount);
    }
}

impl Seek for Source {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}
