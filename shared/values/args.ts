import { CniError, codes } from './errors.js'

/**
 * CNI_ARGS as pairs. Unknown keys are refused unless `IgnoreUnknown` is true, keys are case-sensitive, and a piece that
 * is not exactly `K=V` is always refused, as in the official suite (types.LoadArgs).
 * @throws code 4
 */
export function parseArgs(text: string, known: readonly string[]): ReadonlyMap<string, string> {
  const args = new Map<string, string>()
  if (text === '') return args
  const unknown: string[] = []
  let ignoreUnknown = false
  for (const pair of text.split(';')) {
    const [key, value, ...more] = pair.split('=')
    if (key === undefined || value === undefined || more.length > 0)
      refuse(`ARGS: invalid pair ${JSON.stringify(pair)}`)
    if (key === 'IgnoreUnknown') ignoreUnknown = parseBoolean(value, pair)
    else if (known.includes(key)) args.set(key, value)
    else unknown.push(pair)
  }
  if (unknown.length > 0 && !ignoreUnknown) {
    const fix = `known keys are ${['IgnoreUnknown', ...known].join(', ')}; set IgnoreUnknown=1 to pass others`
    refuse(`ARGS: unknown args [${unknown.map((one) => JSON.stringify(one)).join(' ')}]`, fix)
  }
  return args
}

// --- internal

function parseBoolean(value: string, pair: string): boolean {
  const lower = value.toLowerCase()
  if (lower === '1' || lower === 'true') return true
  if (lower === '0' || lower === 'false') return false
  const why = `boolean unmarshal error: invalid input ${value}`
  return refuse(`ARGS: error parsing value of pair ${JSON.stringify(pair)}: ${why}`)
}

function refuse(message: string, fix?: string): never {
  throw new CniError(codes.invalidEnvironment, message, fix === undefined ? {} : { fix })
}
