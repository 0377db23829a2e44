//! Which size a thumbnail gets: pure arithmetic.

use super::{Method, Requested};

/// A standard size (Client-Server API, "Thumbnails").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// How to fit.
    pub method: Method,
}

/// The shapes to which images are cropped, as width and height; each stands for the same upright
/// too. Few, so that there are few thumbnails of an image whatever is asked for.
const SHAPES: [(u32, u32); 7] = [(1, 1), (4, 3), (3, 2), (16, 9), (2, 1), (3, 1), (4, 1)];
/// The longer sides of cropped images: those of the specification's squares, two for larger
/// avatars, and two for large screens.
const SIDES: [u32; 6] = [32, 96, 256, 512, 1_024, 2_048];
/// The standard boxes to fit into: those of the specification, two for large screens, and one that
/// holds every image, since a thumbnail must not be smaller than what was asked for.
const BOXES: [(u32, u32); 6] = [
    (320, 240),
    (640, 480),
    (800, 600),
    (1_600, 1_200),
    (3_200, 2_400),
    (u32::MAX, u32::MAX),
];

impl Size {
    /// The smallest standard size that is not smaller than what is wanted, and of about its shape
    /// if it is to be cropped. What is larger than all of these is not cropped.
    pub fn standard(requested: &Requested) -> Self {
        let Requested {
            width,
            height,
            method,
            ..
        } = *requested;
        if method == Method::Crop
            && let Some(cropped) = Self::cropped(width, height)
        {
            return cropped;
        }
        let (width, height) = BOXES
            .into_iter()
            .find(|(standard_width, standard_height)| {
                *standard_width >= width && *standard_height >= height
            })
            .unwrap_or(BOXES[BOXES.len() - 1]);
        Self {
            width,
            height,
            method: Method::Scale,
        }
    }

    /// The smallest size of the nearest shape that is not smaller than this.
    fn cropped(width: u32, height: u32) -> Option<Self> {
        if width < height {
            return Self::cropped(height, width).map(Self::turned);
        }
        let (shape_width, shape_height) = nearest_shape(width, height);
        let mut sizes = SIDES.into_iter().map(|side| Self {
            width: side,
            height: side * shape_height / shape_width,
            method: Method::Crop,
        });
        sizes.find(|size| size.width >= width && size.height >= height)
    }

    /// The same size turned by a quarter.
    pub(super) fn turned(self) -> Self {
        Self {
            width: self.height,
            height: self.width,
            method: self.method,
        }
    }

    /// Whether an image of this size is small enough as it is.
    pub(super) fn holds(self, width: u32, height: u32) -> bool {
        width <= self.width && height <= self.height
    }

    /// What to take of an image, and how large to make it. Never larger than it is.
    pub(super) fn cut(self, width: u32, height: u32) -> Cut {
        let whole = Part {
            left: 0,
            top: 0,
            width,
            height,
        };
        match self.method {
            Method::Scale => {
                let (out_width, out_height) = fit_into(width, height, self.width, self.height);
                Cut {
                    part: whole,
                    width: out_width,
                    height: out_height,
                }
            }
            Method::Crop => {
                let (part_width, part_height) = largest_part(width, height, self);
                let part = Part {
                    left: (width - part_width) / 2,
                    top: (height - part_height) / 2,
                    width: part_width,
                    height: part_height,
                };
                // A part that is large enough has the shape but for less than a pixel.
                let is_enough = part_width >= self.width && part_height >= self.height;
                let (out_width, out_height) = if is_enough {
                    (self.width, self.height)
                } else {
                    fit_into(part_width, part_height, self.width, self.height)
                };
                Cut {
                    part,
                    width: out_width,
                    height: out_height,
                }
            }
        }
    }
}

/// A part of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) left: u32,
    pub(super) top: u32,
    pub(super) width: u32,
    pub(super) height: u32,
}

/// A part of an image, and the size to give it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) part: Part,
    pub(super) width: u32,
    pub(super) height: u32,
}

/// The shape that is least narrower or wider than this.
fn nearest_shape(width: u32, height: u32) -> (u32, u32) {
    // How many times narrower or wider, as a fraction.
    let stretch = |(shape_width, shape_height): (u32, u32)| {
        let of_shape = u128::from(shape_width) * u128::from(height);
        let of_this = u128::from(width) * u128::from(shape_height);
        (of_shape.max(of_this), of_shape.min(of_this))
    };
    let mut nearest = SHAPES[0];
    for shape in SHAPES {
        let ((over, under), (nearest_over, nearest_under)) = (stretch(shape), stretch(nearest));
        if over * nearest_under < nearest_over * under {
            nearest = shape;
        }
    }
    nearest
}

/// The largest size of the same shape that fits, not larger than it is; at least one pixel.
fn fit_into(width: u32, height: u32, width_max: u32, height_max: u32) -> (u32, u32) {
    if width <= width_max && height <= height_max {
        return (width, height);
    }
    let (w, h) = (u64::from(width.max(1)), u64::from(height.max(1)));
    let (w_max, h_max) = (u64::from(width_max), u64::from(height_max));
    let (fit_w, fit_h) = if w * h_max > h * w_max {
        (w_max, h * w_max / w)
    } else {
        (w * h_max / h, h_max)
    };
    (narrow(fit_w, width), narrow(fit_h, height))
}

/// The largest part of an image that has the shape of `size`.
fn largest_part(width: u32, height: u32, size: Size) -> (u32, u32) {
    let (w, h) = (u64::from(width.max(1)), u64::from(height.max(1)));
    let (shape_w, shape_h) = (u64::from(size.width), u64::from(size.height));
    if w * shape_h > h * shape_w {
        (narrow(h * shape_w / shape_h, width), height)
    } else {
        (width, narrow(w * shape_h / shape_w, height))
    }
}

fn narrow(length: u64, length_max: u32) -> u32 {
    u32::try_from(length)
        .unwrap_or(u32::MAX)
        .clamp(1, length_max.max(1))
}

#[cfg(test)]
mod tests {
    use super::{Cut, Method, Part, Requested, Size};
    use proptest::prelude::{any, prop_assert, proptest};

    #[test]
    fn standard_sizes() {
        let check = |width, height, method, expect: (u32, u32, Method)| {
            let size = Size::standard(&Requested {
                width,
                height,
                method,
                animated: false,
            });
            assert_eq!(
                (size.width, size.height, size.method),
                expect,
                "{width}x{height}"
            );
        };
        check(1, 1, Method::Crop, (32, 32, Method::Crop));
        check(32, 32, Method::Crop, (32, 32, Method::Crop));
        check(33, 32, Method::Crop, (96, 96, Method::Crop));
        check(96, 96, Method::Crop, (96, 96, Method::Crop));
        check(200, 200, Method::Crop, (256, 256, Method::Crop));
        check(700, 700, Method::Crop, (1_024, 1_024, Method::Crop));
        check(100, 50, Method::Crop, (256, 128, Method::Crop));
        check(50, 100, Method::Crop, (128, 256, Method::Crop));
        check(64, 48, Method::Crop, (96, 72, Method::Crop));
        check(1_600, 900, Method::Crop, (2_048, 1_152, Method::Crop));
        check(90, 10, Method::Crop, (96, 24, Method::Crop));
        check(96, 73, Method::Crop, (256, 192, Method::Crop));
        check(2_049, 2_000, Method::Crop, (3_200, 2_400, Method::Scale));
        check(1, 1, Method::Scale, (320, 240, Method::Scale));
        check(320, 240, Method::Scale, (320, 240, Method::Scale));
        check(320, 241, Method::Scale, (640, 480, Method::Scale));
        check(800, 600, Method::Scale, (800, 600, Method::Scale));
        check(801, 600, Method::Scale, (1_600, 1_200, Method::Scale));
        check(10, 2_000, Method::Scale, (3_200, 2_400, Method::Scale));
        let all = (u32::MAX, u32::MAX, Method::Scale);
        check(3_201, 1, Method::Scale, all);
        check(u32::MAX, u32::MAX, Method::Scale, all);
        check(u32::MAX, u32::MAX, Method::Crop, all);
    }

    #[test]
    fn cuts() {
        let square = Size {
            width: 96,
            height: 96,
            method: Method::Crop,
        };
        let part = |left, top, width, height| Part {
            left,
            top,
            width,
            height,
        };
        let cut = |part, width, height| Cut {
            part,
            width,
            height,
        };
        assert_eq!(square.cut(400, 200), cut(part(100, 0, 200, 200), 96, 96));
        assert_eq!(square.cut(200, 400), cut(part(0, 100, 200, 200), 96, 96));
        assert_eq!(square.cut(400, 50), cut(part(175, 0, 50, 50), 50, 50));
        let boxed = Size {
            width: 320,
            height: 240,
            method: Method::Scale,
        };
        assert_eq!(boxed.cut(1000, 1000), cut(part(0, 0, 1000, 1000), 240, 240));
        assert_eq!(boxed.cut(3200, 10), cut(part(0, 0, 3200, 10), 320, 1));
        assert_eq!(boxed.cut(100_000, 1), cut(part(0, 0, 100_000, 1), 320, 1));
        assert_eq!(boxed.cut(20, 10), cut(part(0, 0, 20, 10), 20, 10));
    }

    proptest! {
        #[test]
        fn never_smaller_than_wanted(width in 1..3_000u32, height in 1..3_000u32) {
            let (method, animated) = (Method::Crop, false);
            let size = Size::standard(&Requested { width, height, method, animated });
            prop_assert!(size.width >= width && size.height >= height);
        }

        #[test]
        fn never_larger(
            width in 1..100_000u32,
            height in 1..100_000u32,
            wanted in any::<(u32, u32, bool)>(),
        ) {
            let method = if wanted.2 { Method::Crop } else { Method::Scale };
            let requested =
                Requested { width: wanted.0, height: wanted.1, method, animated: false };
            let size = Size::standard(&requested);
            let cut = size.cut(width, height);
            prop_assert!(cut.width >= 1 && cut.height >= 1);
            prop_assert!(cut.width <= size.width && cut.height <= size.height);
            prop_assert!(cut.width <= cut.part.width && cut.height <= cut.part.height);
            prop_assert!(cut.part.left + cut.part.width <= width);
            prop_assert!(cut.part.top + cut.part.height <= height);
        }
    }
}
