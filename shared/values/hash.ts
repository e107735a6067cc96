/**
 * SHA-512 of a text's UTF-8 as lower-case hex (FIPS 180-4). Written here because loading node:crypto costs a start
 * 6.6 ms (39 modules, bench/RESULTS.md); hash.test.ts compares it with node:crypto.
 */
export function sha512(text: string): string {
  hashes[text] ??= computed(text)
  return hashes[text]
}

// --- internal: a 64-bit word is two 32-bit halves side by side, the high one first

/** One call asks for the hash of its attachment many times. No Map: V8 would not hash a saved heap with one anew. */
const hashes: Record<string, string> = Object.create(null)

function computed(text: string): string {
  const words = wordsOf(padded(Buffer.from(text)))
  const state = wordsOf(Buffer.from(initial, 'hex'))
  constants ??= wordsOf(Buffer.from(rounds, 'hex'))
  for (let at = 0; at < words.length; at += 32) compress(state, schedule(words.subarray(at, at + 32)), constants)
  return Buffer.from(state.buffer).swap32().toString('hex')
}

let constants: Int32Array<ArrayBuffer> | undefined

/** The message, a one bit, zeros, and its length in bits: whole blocks of 128 bytes. */
function padded(message: Buffer): Buffer {
  const bytes = Buffer.alloc(Math.ceil((message.length + 17) / 128) * 128)
  message.copy(bytes)
  bytes[message.length] = 0x80
  bytes.writeUInt32BE(message.length * 8, bytes.length - 4)
  return bytes
}

/** Big-endian words of 32 bits. */
function wordsOf(bytes: Buffer): Int32Array<ArrayBuffer> {
  const { buffer } = new Uint8Array(bytes)
  Buffer.from(buffer).swap32()
  return new Int32Array(buffer)
}

/** The 80 words of one block. */
function schedule(block: Int32Array): Int32Array {
  const w = new Int32Array(160)
  w.set(block)
  for (let at = 32; at < 160; at += 2) {
    const h0 = w[at - 30] as number
    const l0 = w[at - 29] as number
    const h1 = w[at - 4] as number
    const l1 = w[at - 3] as number
    const high0 = ((h0 >>> 1) | (l0 << 31)) ^ ((h0 >>> 8) | (l0 << 24)) ^ (h0 >>> 7)
    const low0 = ((l0 >>> 1) | (h0 << 31)) ^ ((l0 >>> 8) | (h0 << 24)) ^ ((l0 >>> 7) | (h0 << 25))
    const high1 = ((h1 >>> 19) | (l1 << 13)) ^ ((l1 >>> 29) | (h1 << 3)) ^ (h1 >>> 6)
    const low1 = ((l1 >>> 19) | (h1 << 13)) ^ ((h1 >>> 29) | (l1 << 3)) ^ ((l1 >>> 6) | (h1 << 26))
    const low = (low0 >>> 0) + (low1 >>> 0) + ((w[at - 13] as number) >>> 0) + ((w[at - 31] as number) >>> 0)
    w[at] = high0 + high1 + (w[at - 14] as number) + (w[at - 32] as number) + ((low / carried) | 0)
    w[at + 1] = low
  }
  return w
}

/** What a sum of low halves is divided by for what it hands on to the high half. */
const carried = 2 ** 32

/**
 * The 80 rounds over one block. The working variables a to h are locals: the interpreter, which runs all of this, takes
 * many times as long for an element of an array.
 */
function compress(state: Int32Array, w: Int32Array, k: Int32Array): void {
  let [ah, al, bh, bl, ch, cl, dh, dl, eh, el, fh, fl, gh, gl, hh, hl] = state as unknown as Working
  for (let at = 0; at < 160; at += 2) {
    const chooseHigh = (eh & fh) ^ (~eh & gh)
    const chooseLow = (el & fl) ^ (~el & gl)
    const bigHigh1 = ((eh >>> 14) | (el << 18)) ^ ((eh >>> 18) | (el << 14)) ^ ((el >>> 9) | (eh << 23))
    const bigLow1 = ((el >>> 14) | (eh << 18)) ^ ((el >>> 18) | (eh << 14)) ^ ((eh >>> 9) | (el << 23))
    const inputLow = ((k[at + 1] as number) >>> 0) + ((w[at + 1] as number) >>> 0)
    const low1 = (hl >>> 0) + (bigLow1 >>> 0) + (chooseLow >>> 0) + inputLow
    const high1 = hh + bigHigh1 + chooseHigh + (k[at] as number) + (w[at] as number) + ((low1 / carried) | 0)
    const bigHigh0 = ((ah >>> 28) | (al << 4)) ^ ((al >>> 2) | (ah << 30)) ^ ((al >>> 7) | (ah << 25))
    const bigLow0 = ((al >>> 28) | (ah << 4)) ^ ((ah >>> 2) | (al << 30)) ^ ((ah >>> 7) | (al << 25))
    const majorHigh = (ah & bh) ^ (ah & ch) ^ (bh & ch)
    const majorLow = (al & bl) ^ (al & cl) ^ (bl & cl)
    const lowE = (dl >>> 0) + (low1 >>> 0)
    const lowA = (low1 >>> 0) + (bigLow0 >>> 0) + (majorLow >>> 0)
    hh = gh
    hl = gl
    gh = fh
    gl = fl
    fh = eh
    fl = el
    eh = (dh + high1 + ((lowE / carried) | 0)) | 0
    el = lowE | 0
    dh = ch
    dl = cl
    ch = bh
    cl = bl
    bh = ah
    bl = al
    ah = (high1 + bigHigh0 + majorHigh + ((lowA / carried) | 0)) | 0
    al = lowA | 0
  }
  const worked: Working = [ah, al, bh, bl, ch, cl, dh, dl, eh, el, fh, fl, gh, gl, hh, hl]
  for (let at = 0; at < 16; at += 2) {
    const low = ((state[at + 1] as number) >>> 0) + ((worked[at + 1] as number) >>> 0)
    state[at] = (state[at] as number) + (worked[at] as number) + ((low / carried) | 0)
    state[at + 1] = low
  }
}

/** Halves of a to h. */
type Working = [
  ...[number, number, number, number, number, number, number, number],
  ...[number, number, number, number, number, number, number, number],
]

/** The first 64 bits of the fractional parts of the square roots of the first 8 primes (FIPS 180-4, 5.3.5). */
const initial =
  '6a09e667f3bcc908bb67ae8584caa73b3c6ef372fe94f82ba54ff53a5f1d36f1510e527fade682d19b05688c2b3e6c1f' +
  '1f83d9abfb41bd6b5be0cd19137e2179'

/** The first 64 bits of the fractional parts of the cube roots of the first 80 primes (FIPS 180-4, 4.2.3). */
const rounds =
  '428a2f98d728ae227137449123ef65cdb5c0fbcfec4d3b2fe9b5dba58189dbbc3956c25bf348b53859f111f1b605d019' +
  '923f82a4af194f9bab1c5ed5da6d8118d807aa98a303024212835b0145706fbe243185be4ee4b28c550c7dc3d5ffb4e2' +
  '72be5d74f27b896f80deb1fe3b1696b19bdc06a725c71235c19bf174cf692694e49b69c19ef14ad2efbe4786384f25e3' +
  '0fc19dc68b8cd5b5240ca1cc77ac9c652de92c6f592b02754a7484aa6ea6e4835cb0a9dcbd41fbd476f988da831153b5' +
  '983e5152ee66dfaba831c66d2db43210b00327c898fb213fbf597fc7beef0ee4c6e00bf33da88fc2d5a79147930aa725' +
  '06ca6351e003826f142929670a0e6e7027b70a8546d22ffc2e1b21385c26c9264d2c6dfc5ac42aed53380d139d95b3df' +
  '650a73548baf63de766a0abb3c77b2a881c2c92e47edaee692722c851482353ba2bfe8a14cf10364a81a664bbc423001' +
  'c24b8b70d0f89791c76c51a30654be30d192e819d6ef5218d69906245565a910f40e35855771202a106aa07032bbd1b8' +
  '19a4c116b8d2d0c81e376c085141ab532748774cdf8eeb9934b0bcb5e19b48a8391c0cb3c5c95a634ed8aa4ae3418acb' +
  '5b9cca4f7763e373682e6ff3d6b2b8a3748f82ee5defb2fc78a5636f43172f6084c87814a1f0ab728cc702081a6439ec' +
  '90befffa23631e28a4506cebde82bde9bef9a3f7b2c67915c67178f2e372532bca273eceea26619cd186b8c721c0c207' +
  'eada7dd6cde0eb1ef57d4f7fee6ed17806f067aa72176fba0a637dc5a2c898a6113f9804bef90dae1b710b35131c471b' +
  '28db77f523047d8432caab7b40c724933c9ebe0a15c9bebc431d67c49c100d4c4cc5d4becb3e42b6597f299cfc657e2a' +
  '5fcb6fab3ad6faec6c44198c4a475817'
