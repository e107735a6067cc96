import { excerpt } from '../exec/stderr.js'
import { CniError, codes } from '../values/errors.js'

/** What a tool printed as JSON; `nothing` stands for no words at all. @throws code 100 for what is no JSON */
export function parseAnswer(text: string, nothing: string, about: string): unknown {
  try {
    return JSON.parse(text.trim() || nothing)
  } catch {
    throw unreadableAnswer(about, text)
  }
}

export function unreadableAnswer(about: string, text: string): CniError {
  return new CniError(codes.operationFailed, `cannot read an answer about ${about}`, {
    details: `found ${JSON.stringify(excerpt(text, 500))}, expected JSON`,
    fix: 'see that "ip", "tc" and "nft" are those of iproute2 and nftables, and not something else of that name',
  })
}
