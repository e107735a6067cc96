import type { Run } from '../exec/command.js'
import { excerpt } from '../exec/stderr.js'
import { type Element, ownTable } from '../plan/element.js'
import { CniError, codes } from '../values/errors.js'
import { answerOf } from './nft.js'

/**
 * Whether our maps and sets hold elements as these say. nft shows all, or nothing when a single element is absent: then
 * the maps and sets are listed, a process each.
 * @throws when nft is absent or dies
 */
export function heldByNft(run: Run, wanted: readonly Element[]): readonly boolean[] {
  const collections = [...Map.groupBy(wanted, ({ family, collection }) => `${family} ${collection}`).values()]
  const commands = collections.flatMap((elements) => chunks(elements).map(getCommand))
  const shown = ask(run, ['nft', '-f', '-'], commands.join(''))
  const texts = shown === undefined ? collections.map((elements) => listed(run, elements)) : [shown]
  const found = new Map(texts.flatMap(shownElements))
  if (shown !== undefined && wanted.some((one) => !found.has(placeOf(one)))) throw unreadable(shown)
  return wanted.map(({ value, comment, ...rest }) => {
    const one = found.get(placeOf(rest))
    const isSaid = (said: string | undefined, is: string | undefined) => said === undefined || said === is
    return (
      one !== undefined &&
      isSaid(value?.join(' '), one.value) &&
      isSaid(comment === undefined ? undefined : `"${comment}"`, one.comment)
    )
  })
}

// --- internal

/** nft dies of a command that asks for more than some 200 elements (seen with 1.0.6), not of many such commands. */
const mostOfCommand = 64

function chunks(elements: readonly Element[]): readonly (readonly Element[])[] {
  const count = Math.ceil(elements.length / mostOfCommand)
  return Array.from({ length: count }, (_, at) => elements.slice(at * mostOfCommand, (at + 1) * mostOfCommand))
}

function getCommand(elements: readonly Element[]): string {
  const [{ family, collection }] = elements as [Element]
  const keys = elements.map(({ key }) => key.join(' ')).join(', ')
  return `get element ${family} ${ownTable} ${collection} { ${keys} }\n`
}

/** Only a map's elements have values. */
function listed(run: Run, elements: readonly Element[]): string {
  const [{ family, collection, value }] = elements as [Element]
  const text = ask(run, ['nft', 'list', value === undefined ? 'set' : 'map', family, ownTable, collection])
  if (text !== undefined && !text.includes(` ${collection} {`)) throw unreadable(text)
  return text ?? ''
}

function placeOf({ family, collection, key }: Pick<Element, 'family' | 'collection' | 'key'>): string {
  return [family, collection, ...key].join(' ')
}

function unreadable(text: string): CniError {
  return new CniError(codes.operationFailed, 'cannot read what nft shows of elements', {
    details: `found ${JSON.stringify(excerpt(text, 500))}`,
    fix: 'see that "nft" is that of nftables, and not something else of that name',
  })
}

function ask(run: Run, argv: [string, ...string[]], stdin?: string): string | undefined {
  return answerOf({ argv }, run({ argv, ...(stdin === undefined ? {} : { stdin }) }))
}

type Shown = readonly [string, { readonly value: string | undefined; readonly comment: string | undefined }]

/**
 * What nft shows, as from "FAMILY COLLECTION KEY" to the rest: `KEY comment "TEXT" : VALUE, ...` between the braces of
 * `elements`.
 */
function shownElements(text: string): readonly Shown[] {
  const shown: Shown[] = []
  let [family, collection, inside] = ['', '', false]
  for (const line of text.split('\n')) {
    const words = line.trim()
    const [kind = '', first = '', second = ''] = words.split(' ', 3)
    if (kind === 'table') family = first
    if (kind === 'map' || kind === 'set') collection = first
    if (kind === 'elements' && second === '{') inside = true
    if (!inside) continue
    const start = words.startsWith('elements = {') ? 'elements = {'.length : 0
    const end = words.endsWith('}') ? words.length - 1 : words.length
    for (const one of words.slice(start, end).split(','))
      shown.push(...shownElement(`${family} ${collection}`, one.trim()))
    if (words.endsWith('}')) inside = false
  }
  return shown
}

function shownElement(where: string, text: string): readonly Shown[] {
  if (text === '') return []
  const [left = '', value] = text.split(' : ', 2)
  const [key = '', comment] = left.split(' comment ', 2)
  return [[`${where} ${key}`, { value, comment }]]
}
