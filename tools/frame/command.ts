import { Argument, Command, InvalidArgumentError, Option } from 'commander'
import { Console, type Output } from './console.js'
import { type Place, type PlaceOptions, placeOf } from './place.js'

/** Exit statuses of every command. */
export const fine: 0 = 0
export const found: 1 = 1
export const wrong: 2 = 2
export type Status = typeof fine | typeof found | typeof wrong

/** One command: what help, man pages and shell completion are made of, and what it does. */
export interface Definition {
  readonly name: string
  /** One line, an imperative without a full stop. */
  readonly summary: string
  /** Paragraphs of the man page and of `help`. */
  readonly details?: readonly string[]
  readonly arguments?: readonly { readonly words: string; readonly what: string; readonly values?: Values }[]
  readonly options?: readonly {
    readonly flags: string
    readonly what: string
    readonly choices?: readonly string[]
    readonly default?: string
    /** Given several times it has several values: a list, absent where there is none. */
    readonly isRepeatable?: boolean
  }[]
  /** Which of --root, --conf, --bin and --data it has. */
  readonly places?: readonly (keyof PlaceOptions)[]
  /** What `--json` prints beside `command` and `formatVersion`; absent: the command has no --json. */
  readonly json?: string
  readonly examples?: readonly { readonly line: string; readonly what: string }[]
  /** What status 1 means; absent: it has none. */
  readonly finds?: string
  readonly isHidden?: boolean
  readonly run: (call: CommandCall) => Status | Promise<Status>
}

export interface CommandCall {
  /** As they were given; a list for an argument that takes several. */
  readonly words: readonly string[]
  readonly options: Readonly<Record<string, string | boolean | readonly string[] | undefined>>
  readonly place: Place
  /** The answer is wanted as JSON. */
  readonly asJson: boolean
  readonly console: Console
  /** The whole program, for what is made of it. */
  readonly program: Command
}

/** What an argument may be, for completion. */
type Values = () => readonly string[]

/** A command that ended with another status than 0. */
export class Ended extends Error {
  readonly status: Status

  constructor(status: Status, message = '') {
    super(message)
    this.status = status
  }
}

/** A command of commander that still knows what it was made of. */
export class ToolCommand extends Command {
  readonly definition: Definition

  constructor(definition: Definition) {
    super(definition.name)
    this.definition = definition
  }
}

/** The command that a definition describes; `output` is asked when it runs. */
export function makeCommand(definition: Definition): ToolCommand {
  const { places = [], json, options = [] } = definition
  const command = new ToolCommand(definition)
  command.description(definition.summary).allowExcessArguments(false)
  for (const { words, what } of definition.arguments ?? []) command.addArgument(new Argument(words, what))
  for (const { flags, what, choices, default: value, isRepeatable } of options) {
    const option = new Option(flags, what)
    if (choices) option.choices([...choices])
    if (value !== undefined) option.default(value)
    if (isRepeatable) option.argParser((given: string, before: readonly string[] = []) => [...before, given])
    command.addOption(option)
  }
  for (const place of places) command.addOption(new Option(`--${place} <dir>`, placeWords[place]).argParser(folder))
  if (json !== undefined) command.option('--json', `answer with one JSON object: ${json}`)
  command.addHelpText('after', () => afterwards(definition))
  return command.action(async () => {
    const given = command.opts()
    const words = command.processedArgs.flatMap((one: string | string[] | undefined) => one ?? [])
    const status = await definition.run({
      words,
      options: given,
      place: placeOf(given),
      asJson: given['json'] === true,
      console: new Console(command.configureOutput() as Output),
      program: command.parent ?? command,
    })
    if (status !== fine) throw new Ended(status)
  })
}

/** Lines of at most `columns` columns. */
export function wrapped(text: string, columns: number): string[] {
  const lines = ['']
  for (const word of text.split(' ')) {
    const last = lines.at(-1) ?? ''
    if (last !== '' && last.length + 1 + word.length > columns) lines.push(word)
    else lines[lines.length - 1] = last === '' ? word : `${last} ${word}`
  }
  return lines
}

// --- internal

const placeWords: Readonly<Record<keyof PlaceOptions, string>> = {
  root: 'look below this folder instead of "/": an image, or another host\'s disk',
  conf: 'where runtimes look for configurations (default: /etc/cni/net.d)',
  bin: 'where the plugins are (default: /opt/cni/bin)',
  data: 'where host-local keeps leases (default: /var/lib/cni/networks)',
}

function folder(value: string): string {
  if (value === '' || value.includes('\0')) throw new InvalidArgumentError('It is no folder.')
  return value
}

/** What help says below the options. */
function afterwards({ details = [], examples = [], finds }: Definition): string {
  const statuses = ['0: fine or done', ...(finds ? [`1: ${finds}`] : []), '2: wrong use, or it could not look']
  return [
    '',
    ...details.flatMap((text) => [...wrapped(text, 80), '']),
    ...(examples.length > 0 ? ['Examples:', ...examples.map(({ line, what }) => `  ${line}\n      ${what}`), ''] : []),
    `Exit status: ${statuses.join('; ')}.`,
  ].join('\n')
}
