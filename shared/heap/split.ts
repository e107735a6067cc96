import { type NodePath, parseSync, traverse, type types } from '@babel/core'

// A script's functions that no usual call runs, in groups that are compiled when the first of their functions is
// called. V8 keeps something of each function of a script, compiled or not, and takes all of that out of the code cache
// at every start: half of what a call of a plugin took out was of functions that it does not run.
//
// What a script means does not depend on what is moved: only functions of the script's own scope are, which nothing
// assigns to, and they see the same variables from there. `marked` finds out which ones calls run.

/** The script, with a note in `told.ran` of each of its functions that runs; how many there are. */
export function marked(script: string): { readonly text: string; readonly marks: number } {
  const { functions } = parsed(script)
  const edits = functions.map(({ code: { node } }, index): Edit => {
    const { start, end } = placeOf(node.body)
    const note = `told.ran[${index}]=1`
    return node.body.type === 'BlockStatement'
      ? { start: start + 1, end: start + 1, text: `${note};` }
      : { start, end, text: `(${note},${script.slice(start, end)})` }
  })
  return { text: edited(script, edits), marks: functions.length }
}

/** The script, with the functions that did not run in groups. @param ran of each function whether it ran */
export function split(script: string, ran: readonly boolean[]): string {
  const { functions, first } = parsed(script)
  const runs = new Set<types.Node>(functions.filter((_, index) => ran[index]).map(({ code }) => code.node))
  const groups = grouped(functions.filter((one, index) => !ran[index] && isMovable(one, runs)))
  const groupOf = new Map<types.Node, number>(
    groups.flatMap((group, index) => group.map(({ code }) => [code.node, index] as const)),
  )
  const groupAround = (path: NodePath) => ownersOf(path).flatMap((owner) => groupOf.get(owner) ?? [])[0]
  const renames: Edit[] = []
  const texts = groups.map((group, index) => {
    const others = group.map(({ references }) => references.filter((one) => groupAround(one) !== index))
    const shown = group.filter((_, at) => others[at]?.length).map(({ name }) => name)
    renames.push(...group.flatMap(({ name }, at) => (others[at] ?? []).map((one) => renamed(one, name, index))))
    return { group, shown }
  })
  const added = texts.map(({ group, shown }, index) => {
    const bodies = group.map(({ whole, statement }) => {
      const body = editedPart(script, placeOf(whole.node), renames)
      return statement ? `var ${body};` : body
    })
    const held = `var ${rare}={${shown.join(',')}};${rare}${index}=()=>${rare};return ${rare}`
    return `function ${rare}${index}(){${bodies.join('')}${held}}`
  })
  const moved = groups.flat()
  const places = moved.map(({ whole }) => placeOf(whole.node))
  const stays = ({ start }: Edit) => !places.some((place) => start >= place.start && start < place.end)
  return edited(script, [
    { start: first, end: first, text: added.join('') },
    ...moved.filter(({ statement }) => !statement).map(({ whole }) => ({ ...placeOf(whole.node), text: '' })),
    ...declarationsWithout(moved, groupOf),
    ...renames.filter(stays),
  ])
}

// --- internal

/** What esbuild gives no name: a function rare0 makes those of the first group, once, and returns them by name. */
const rare = '$rare'

/** Characters of a group, or more: what compiling one of its functions goes through. */
const groupSize = 4_000

type Code = NodePath<types.Function>

/** A function of the script's own scope. */
interface Named {
  readonly name: string
  readonly code: Code
  /** Its declaration, or its part of the declaration of variables `statement`. */
  readonly whole: NodePath
  readonly statement?: NodePath<types.VariableDeclaration>
  readonly references: readonly NodePath[]
}

interface Edit {
  readonly start: number
  readonly end: number
  readonly text: string
}

/** @throws where it is not one function, or uses a name that this file gives */
function parsed(script: string): { readonly functions: readonly Named[]; readonly first: number } {
  const tree = parseSync(script, { sourceType: 'script', configFile: false, babelrc: false })
  if (!tree) throw new Error('a script is empty')
  const found: Code[] = []
  traverse(tree, {
    Function(path) {
      found.push(path as Code)
      path.stop()
    },
  })
  const [top] = found
  const body = top?.get('body')
  if (!(top && body && !Array.isArray(body) && body.isBlockStatement())) throw new Error('a script is no function')
  if (script.includes(rare)) throw new Error(`a script has the name ${rare} already`)
  const functions = body.get('body').flatMap((statement) => namedIn(statement, top))
  return { functions, first: placeOf(body.get('body')[0]?.node).start }
}

function namedIn(statement: NodePath<types.Statement>, top: Code): Named[] {
  const named = (id: types.Node | null | undefined, code: Code, more: Pick<Named, 'whole' | 'statement'>): Named[] => {
    if (id?.type !== 'Identifier') return []
    const binding = top.scope.getOwnBinding(id.name)
    const isConstant = binding?.constantViolations.length === 0
    return isConstant ? [{ name: id.name, code, ...more, references: binding.referencePaths }] : []
  }
  if (statement.isFunctionDeclaration()) return named(statement.node.id, statement, { whole: statement })
  if (!statement.isVariableDeclaration()) return []
  return statement.get('declarations').flatMap((whole) => {
    const code = whole.get('init')
    const isFunction = code.isArrowFunctionExpression() || code.isFunctionExpression()
    return isFunction ? named(whole.node.id, code, { whole, statement }) : []
  })
}

/** Whether nothing that runs has to have the function but to call it. */
function isMovable({ references }: Named, runs: ReadonlySet<types.Node>): boolean {
  return references.every((one) => {
    const owners = ownersOf(one)
    // The last one is the script itself.
    const isRun = owners.length < 2 || runs.has(owners.at(-2) as types.Node)
    return !isRun || isCallee(one)
  })
}

function isCallee({ parentPath, key }: NodePath): boolean {
  return key === 'callee' && parentPath?.isCallExpression() === true
}

/** The functions around, from the inner ones to the script itself. */
function ownersOf(path: NodePath): types.Node[] {
  const owners: types.Node[] = []
  for (let one = path.getFunctionParent(); one; one = one.getFunctionParent()) owners.push(one.node)
  return owners
}

/** Neighbours together, which are of one module or of related ones. */
function grouped(functions: readonly Named[]): readonly (readonly Named[])[] {
  const groups: Named[][] = []
  let size = groupSize
  for (const one of functions) {
    if (size >= groupSize) {
      groups.push([])
      size = 0
    }
    groups.at(-1)?.push(one)
    const { start, end } = placeOf(one.whole.node)
    size += end - start
  }
  return groups
}

/** A reference from outside its group to a function that was moved. */
function renamed(reference: NodePath, name: string, group: number): Edit {
  const { parentPath, node } = reference
  const isShorthand = parentPath?.isObjectProperty() && parentPath.node.shorthand
  return { ...placeOf(node), text: `${isShorthand ? `${name}:` : ''}${rare}${group}().${name}` }
}

/** The declarations of variables of which some are moved, without those. */
function declarationsWithout(moved: readonly Named[], inside: ReadonlyMap<types.Node, number>): Edit[] {
  const statements = new Set(moved.flatMap(({ statement }) => statement?.node ?? []))
  return [...statements].flatMap((statement) => {
    const isMoved = ({ init }: types.VariableDeclarator) => init !== null && init !== undefined && inside.has(init)
    const all = statement.declarations
    if (all.every(isMoved)) return [{ ...placeOf(statement), text: '' }]
    const firstKept = all.findIndex((one) => !isMoved(one))
    return all.flatMap((one, index): Edit[] => {
      if (!isMoved(one)) return []
      const { start, end } = placeOf(one)
      // The comma before it goes, too, or, where nothing stays before it, the one behind.
      return index > firstKept
        ? [{ start: placeOf(all[index - 1]).end, end, text: '' }]
        : [{ start, end: placeOf(all[index + 1]).start, text: '' }]
    })
  })
}

function placeOf(node: types.Node | undefined): { readonly start: number; readonly end: number } {
  const { start, end } = node ?? {}
  if (typeof start !== 'number' || typeof end !== 'number') throw new Error('the parser says no place')
  return { start, end }
}

/** A part of a text, with those of the edits that lie in it. */
function editedPart(text: string, place: Omit<Edit, 'text'>, edits: readonly Edit[]): string {
  const inside = edits.filter(({ start, end }) => start >= place.start && end <= place.end)
  const moved = inside.map(({ start, end, text }) => ({ start: start - place.start, end: end - place.start, text }))
  return edited(text.slice(place.start, place.end), moved)
}

function edited(text: string, edits: readonly Edit[]): string {
  const sorted = edits.toSorted((one, other) => one.start - other.start || one.end - other.end)
  const parts: string[] = []
  let at = 0
  for (const { start, end, text: put } of sorted) {
    if (start < at) throw new Error(`two edits meet at ${start}`)
    parts.push(text.slice(at, start), put)
    at = end
  }
  return [...parts, text.slice(at)].join('')
}
