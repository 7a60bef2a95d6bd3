// A CD that a BIOS boots, small enough to be written here. It says its label at the serial console, which it reads from
// the CD: so a guest tells what is in its drive.

const sector = 2048
const bootSector = 20
const labelSector = 21

// Real mode, at 07c0:0000: reads sector 21 of the drive that it came from with int 13h, and writes 8 bytes of it to COM1.
const code = Buffer.from(
  '+jHAjtiOwI7QvABw+7RCvix8zRO+AJC5CAC6/QPsqCB0+7r4A6zu4vH06/0QAAEAAJAAABUAAAAAAAAA',
  'base64'
)

/** An ISO 9660 image with a boot record after El Torito. The label has 7 characters. */
export function bootableCd(label: string): Buffer {
  const image = Buffer.alloc(1 << 20)
  const descriptor = (at: number, type: number) => {
    image.writeUInt8(type, at * sector)
    image.write('CD001\x01', at * sector + 1, 'latin1')
  }
  descriptor(16, 1)
  image.write(label.padEnd(32), 16 * sector + 40, 'latin1')
  image.writeUInt32LE(image.length / sector, 16 * sector + 80)
  image.writeUInt32BE(image.length / sector, 16 * sector + 84)
  descriptor(17, 0)
  image.write('EL TORITO SPECIFICATION', 17 * sector + 7, 'latin1')
  image.writeUInt32LE(19, 17 * sector + 0x47)
  descriptor(18, 255)
  catalog(image.subarray(19 * sector, 20 * sector))
  code.copy(image, bootSector * sector)
  image.write(`${label}\n`, labelSector * sector, 'latin1')
  return image
}

/** A disk that boots like it: the same program in its first sector, and the label in sector 21 of 512 bytes. */
export function bootableDisk(label: string): Buffer {
  const image = Buffer.alloc(64 * 512)
  code.copy(image)
  image.writeUInt16LE(0xaa55, 510)
  image.write(`${label}\n`, labelSector * 512, 'latin1')
  return image
}

/** One entry that says whose it is, with the sum of its words zero, and one that boots without emulation. */
function catalog(at: Buffer): void {
  at.writeUInt8(1, 0)
  at.writeUInt16LE(0xaa55, 30)
  let sum = 0
  for (let word = 0; word < 32; word += 2) sum += at.readUInt16LE(word)
  at.writeUInt16LE((0x10000 - (sum & 0xffff)) & 0xffff, 28)
  at.writeUInt8(0x88, 32)
  at.writeUInt16LE(1, 38)
  at.writeUInt32LE(bootSector, 40)
}
