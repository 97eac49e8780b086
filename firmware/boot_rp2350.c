/* What an RP2350's boot ROM looks for in the first 4 KB of flash: this is a program for its Arm cores, in the secure state, whose vectors
 * lie at the start. RP2350 datasheet 5.9.5, "Minimum viable image metadata". */
#include <stdint.h>

__attribute__((section(".image_def"), used)) static const uint32_t image_def[] = {
    0xffffded3u, /* start of a block */
    0x10210142u, /* IMAGE_TYPE: EXE, secure, Arm, RP2350 */
    0x000001ffu, /* the last item; the items are one word */
    0x00000000u, /* the next block: this one again */
    0xab123579u, /* end of a block */
};
