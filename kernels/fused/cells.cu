// Cells of a plane: the unit in which batch norm walks over an image.
//
//    W                     A thread takes a cell at a time: the PH x PW pixels of a pooling window (1 x 1 without
//   .-------.-------.-.    a pool), which share their dy and their address; each row of them is one load. Cells
//   | a   a | b   b |c|    on the lower and the right edge may be cut off: such pixels have no window, but they
//   | a   a | b   b |c|    have a dx. Neighbouring threads have neighbouring cells.
//   '-------'-------'-'
//
//   x (I, C, H, W)   dy (I, C, OH, OW)   Shape   H, W, OH, OW, PH, PW, CH x CW cells
//
// Threads: each calls with a cell of its own. A whole cell is loaded by its rows.
// NumPy twin: average_pool in nplenet/layers/pooling.py, whose windows are the whole cells.

// The pixels of a cell, and dy of their window: 0 for pixels without a window.
template <class Shape>
struct Cell {
    T x[Shape::PH][Shape::PW], dy;
};

// Whether a cell lies whole in the image. With `true` at hand, the compiler leaves all other cases out.
template <class Shape>
__device__ __forceinline__ bool is_whole(int h, int w)
{
    const bool rows = Shape::CH == Shape::OH || h < Shape::OH, columns = Shape::CW == Shape::OW || w < Shape::OW;
    return rows && columns;
}

// Load the cell (h, w) of a plane, number `plane` of I * C; dy may be null.
template <class Shape>
__device__ __forceinline__ Cell<Shape> load_cell(const T* x, const T* dy, int plane, int h, int w)
{
    constexpr int H = Shape::H, W = Shape::W, PH = Shape::PH, PW = Shape::PW, N = W % PW == 0 ? PW : 1;
    const T* corner = x + (plane * H + h * PH) * W + w * PW;
    Cell<Shape> cell;
    if (is_whole<Shape>(h, w)) {
#pragma unroll
        for (int e = 0; e < PH * PW; e += N) {
            const Pack<N> some = pack_at<N>(corner + e / PW * W + e % PW);
#pragma unroll
            for (int j = 0; j < N; ++j) cell.x[e / PW][e % PW + j] = some.values[j];
        }
        cell.dy = dy ? dy[(plane * Shape::OH + h) * Shape::OW + w] / T(PH * PW) : T(0);
        return cell;
    }
#pragma unroll
    for (int e = 0; e < PH * PW; ++e) {
        const bool inside = h * PH + e / PW < H && w * PW + e % PW < W;
        cell.x[e / PW][e % PW] = inside ? corner[e / PW * W + e % PW] : T(0);
    }
    cell.dy = T(0);
    return cell;
}

template <class Shape>
__device__ __forceinline__ void store_cell(const T (&x)[Shape::PH][Shape::PW], T* to, int plane, int h, int w)
{
    constexpr int H = Shape::H, W = Shape::W, PH = Shape::PH, PW = Shape::PW, N = W % PW == 0 ? PW : 1;
    T* corner = to + (plane * H + h * PH) * W + w * PW;
#pragma unroll
    for (int e = 0; e < PH * PW; e += N) {
        if (!is_whole<Shape>(h, w) && (h * PH + e / PW >= H || w * PW + e % PW >= W)) continue;
        Pack<N> some;
#pragma unroll
        for (int j = 0; j < N; ++j) some.values[j] = x[e / PW][e % PW + j];
        *reinterpret_cast<Pack<N>*>(corner + e / PW * W + e % PW) = some;
    }
}
