import type fs from 'node:fs'

/**
 * Calls what the plugins call of node:fs and Buffer, in the empty `folder`: once before the heap lets go of Node's
 * modules, so that what is looked up at first use is found, and once after, so that its code is saved too. A call that
 * lost something it needs throws here, at the build.
 */
export function exercise(files: typeof fs, folder: string): void {
  exerciseFiles(files, folder)
  exerciseBuffer()
}

// --- internal

function exerciseFiles(files: typeof fs, folder: string): void {
  const inner = `${folder}/inner/most`
  const [file, other, link] = ['file', 'other', 'link'].map((name) => `${inner}/${name}`) as [string, string, string]
  const none = `${inner}/none`
  files.mkdirSync(inner, { recursive: true, mode: 0o700 })
  files.writeFileSync(file, 'text', { mode: 0o600 })
  files.writeFileSync(file, 'text', { flag: 'r+' })
  files.appendFileSync(file, 'more', { mode: 0o600 })
  const fd = files.openSync(other, 'wx', 0o600)
  files.writeSync(fd, 'text')
  files.writeSync(fd, Buffer.from('more'), 1)
  files.fsyncSync(fd)
  files.closeSync(fd)
  const reading = files.openSync(other, 'r')
  files.readSync(reading, Buffer.alloc(8))
  files.readSync(reading, Buffer.alloc(8), 0, 8, 1)
  files.readSync(reading, Buffer.allocUnsafeSlow(8))
  files.fstatSync(reading)
  files.closeSync(reading)
  for (const encoding of ['utf8', 'latin1'] as const) files.readFileSync(file, encoding)
  const device = files.openSync('/dev/null', 'r')
  files.readFileSync(device, 'utf8')
  files.closeSync(device)
  files.symlinkSync(file, link)
  files.readlinkSync(link)
  files.linkSync(file, `${link}.hard`)
  files.renameSync(`${link}.hard`, other)
  files.utimesSync(other, 1, 1)
  files.accessSync(`${inner}/.`, files.constants.W_OK)
  files.readdirSync(inner)
  files.statfsSync(inner)
  for (const path of [file, none]) {
    files.statSync(path, { throwIfNoEntry: false })?.isFile()
    files.lstatSync(path, { throwIfNoEntry: false })
    files.lstatSync(path, { bigint: true, throwIfNoEntry: false })
  }
  files.statSync(file)
  files.lstatSync(file)
  for (const fail of [
    () => files.readFileSync(none),
    () => files.openSync(none, 'r'),
    () => files.unlinkSync(none),
    () => files.readdirSync(none),
    () => files.readlinkSync(none),
    () => files.mkdirSync(`${none}/below`, { mode: 0o700 }),
    () => files.accessSync(none, files.constants.W_OK),
  ]) {
    try {
      fail()
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code !== 'ENOENT') throw thrown
    }
  }
  files.unlinkSync(other)
  for (const path of [file, link, none]) files.rmSync(path, { force: true })
  files.rmdirSync(inner)
  files.rmdirSync(`${folder}/inner`)
}

function exerciseBuffer(): void {
  const words = Buffer.alloc(16)
  words.writeUInt32LE(1, 0)
  words.writeUInt32BE(2, 4)
  words.writeInt32LE(-3, 8)
  words.writeInt32BE(-4, 12)
  words.readUInt8(0)
  words.readUInt16LE(0)
  words.readUInt16BE(0)
  words.readUInt32LE(0)
  words.readUInt32BE(4)
  words.readInt32LE(8)
  const copied = Buffer.allocUnsafeSlow(64)
  words.copy(copied, 4)
  words.swap32().slice(1, 3)
  copied.readBigUInt64LE(0)
  copied.write('text', 4, 'latin1')
  copied.indexOf('text')
  copied.indexOf(0)
  copied.fill(0)
  const shared = new Uint8Array(4)
  const parts = [
    Buffer.from([1, 2]),
    Buffer.from('00ff', 'hex'),
    Buffer.from('AP8=', 'base64'),
    Buffer.from('text'),
    Buffer.from(shared.buffer),
    words,
  ]
  const whole = Buffer.concat(parts)
  Buffer.from(whole.subarray(1, 3))
  for (const encoding of ['hex', 'latin1', 'utf8'] as const) whole.toString(encoding)
  Buffer.from('text', 'latin1').toString()
  whole.equals(copied)
  Buffer.byteLength('text')
  words.filter((byte) => byte > 0)
  // Small ones share memory until it is used up.
  for (let used = 0; used <= Buffer.poolSize; used += 1024) Buffer.allocUnsafe(1024)
}
