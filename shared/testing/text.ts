import fc from 'fast-check'

/** Texts of any code points, lone surrogates too; `fc.string` takes a second to prepare as much. */
export function anyText(maxLength: number): fc.Arbitrary<string> {
  const points = fc.oneof(fc.integer({ min: 0, max: 0x7f }), fc.integer({ min: 0, max: 0x10ffff }))
  return fc.array(points, { maxLength }).map((all) => String.fromCodePoint(...all))
}
