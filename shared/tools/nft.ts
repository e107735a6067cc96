import type { Command, Outcome, Run } from '../exec/command.js'
import { excerpt, reasonOf } from '../exec/stderr.js'
import { CniError, codes } from '../values/errors.js'
import { parseAnswer, unreadableAnswer } from './answer.js'

/** What `nft -j` answers to a question; nothing where the thing asked about, or nft, or nf_tables is absent. */
export function askNft(run: Run, words: readonly string[]): readonly Record<string, unknown>[] {
  const answer = parseAnswer(nftText(run, ['-j', ...words]), '{"nftables":[]}', 'nftables') as { nftables?: unknown }
  if (!Array.isArray(answer?.nftables)) throw unreadableAnswer('nftables', JSON.stringify(answer))
  return answer.nftables
}

/** The text nft answers; none where the thing asked about, or nft, or nf_tables is absent. */
export function nftText(run: Run, words: readonly string[]): string {
  const argv = ['nft', ...words] as const
  const outcome = run({ argv })
  return outcome.failure === 'ENOENT' ? '' : (answerOf({ argv }, outcome) ?? '')
}

/**
 * What nft answered; undefined where what it was asked about, or nf_tables, is absent.
 * @throws code 101 where nft is not installed, 100 when it failed or died, which says nothing of what it was asked
 * about
 */
export function answerOf({ argv }: Pick<Command, 'argv'>, outcome: Outcome): string | undefined {
  const { status, signal, failure, stdout, stderr } = outcome
  if (status === 0) return stdout
  if (failure === 'ENOENT') {
    throw new CniError(codes.toolMissing, 'the program "nft" is not installed', { fix: 'install nftables' })
  }
  const reason = reasonOf(stderr)
  if (status !== null && (reason === 'absent' || reason === 'unsupported')) return undefined
  const end = signal ? `killed by ${signal}\n` : failure ? `it did not start: ${failure}\n` : ''
  throw new CniError(codes.operationFailed, `cannot ask "${argv.join(' ')}"`, {
    details: `${end}stderr: ${excerpt(stderr)}`,
  })
}
